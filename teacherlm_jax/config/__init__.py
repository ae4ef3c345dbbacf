"""What every verb can be told: one dataclass a verb, made of smaller ones that the verbs share.

Config files return these (see `configs/`); the command line overrides single fields. All of it is
plain values, so that a resolved config can be written to JSON and compared.
"""

from teacherlm_jax.config.convert import ConvertConfig
from teacherlm_jax.config.data import (
    ColumnsConfig,
    MixtureConfig,
    PartConfig,
    PrepareConfig,
    SourceConfig,
    VocabularyConfig,
)
from teacherlm_jax.config.flow import QuickstartConfig, ReportConfig, StepConfig
from teacherlm_jax.config.inference import (
    AnnotateConfig,
    BenchmarkConfig,
    EvaluateConfig,
    SamplingConfig,
    TeachersConfig,
)
from teacherlm_jax.config.model import MeshConfig, ModelConfig
from teacherlm_jax.config.names import FORMATS, FORMS, GATES, READERS
from teacherlm_jax.config.options import SweepOptions
from teacherlm_jax.config.plan import PlanOptions
from teacherlm_jax.config.training import (
    HELD_OUT,
    CheckpointConfig,
    OptimizerConfig,
    ProfileConfig,
    TrainConfig,
    ValidationConfig,
)

__all__ = [
    "FORMATS",
    "FORMS",
    "GATES",
    "HELD_OUT",
    "READERS",
    "AnnotateConfig",
    "BenchmarkConfig",
    "CheckpointConfig",
    "ColumnsConfig",
    "ConvertConfig",
    "EvaluateConfig",
    "MeshConfig",
    "MixtureConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PartConfig",
    "PlanOptions",
    "PrepareConfig",
    "ProfileConfig",
    "QuickstartConfig",
    "ReportConfig",
    "SamplingConfig",
    "SourceConfig",
    "StepConfig",
    "SweepOptions",
    "TeachersConfig",
    "TrainConfig",
    "ValidationConfig",
    "VocabularyConfig",
]
