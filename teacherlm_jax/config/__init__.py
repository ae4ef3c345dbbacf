"""Settings of every verb: one dataclass per verb, built from smaller ones that verbs share.

Config files return these (see `configs/`), and the command line overrides single fields. They hold
only plain values, so a resolved config can be written to JSON and compared.
"""

from teacherlm_jax.config.benchmark_config import BenchmarkConfig
from teacherlm_jax.config.convert_config import ConvertConfig
from teacherlm_jax.config.dataset_config import DatasetConfig
from teacherlm_jax.config.endpoint_config import EndpointConfig
from teacherlm_jax.config.inference_config import (
    AnnotateConfig,
    EvaluateConfig,
    SamplingConfig,
    TeachersConfig,
    authors_sampling,
)
from teacherlm_jax.config.lora_config import LoraConfig
from teacherlm_jax.config.model_config import MeshConfig, ModelConfig
from teacherlm_jax.config.names import DEFAULT_GATES, FORMATS, FORMS, GATES, READERS
from teacherlm_jax.config.options import (
    DoctorOptions,
    DryRunOptions,
    PipelineOptions,
    PlanOptions,
    StatusOptions,
    SweepOptions,
)
from teacherlm_jax.config.pipeline_config import PipelineConfig, QuickstartConfig, StepConfig
from teacherlm_jax.config.prepare_config import (
    ColumnsConfig,
    MixtureConfig,
    PartConfig,
    PrepareConfig,
    SourceConfig,
    VocabularyConfig,
)
from teacherlm_jax.config.report_config import ReportConfig
from teacherlm_jax.config.star_config import StarConfig
from teacherlm_jax.config.tracking_config import TrackingConfig
from teacherlm_jax.config.train_config import (
    HELD_OUT,
    CheckpointConfig,
    OptimizerConfig,
    ProfileConfig,
    TrainConfig,
    ValidationConfig,
)

__all__ = [
    "DEFAULT_GATES",
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
    "DatasetConfig",
    "DoctorOptions",
    "DryRunOptions",
    "EndpointConfig",
    "EvaluateConfig",
    "LoraConfig",
    "MeshConfig",
    "MixtureConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PartConfig",
    "PipelineConfig",
    "PipelineOptions",
    "PlanOptions",
    "PrepareConfig",
    "ProfileConfig",
    "QuickstartConfig",
    "ReportConfig",
    "SamplingConfig",
    "SourceConfig",
    "StarConfig",
    "StatusOptions",
    "StepConfig",
    "SweepOptions",
    "TeachersConfig",
    "TrackingConfig",
    "TrainConfig",
    "ValidationConfig",
    "VocabularyConfig",
    "authors_sampling",
]
