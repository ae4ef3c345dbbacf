"""TeacherLM in JAX: train teachers that explain, explain data sets, train students, measure them.

Method: TeacherLM, arXiv 2310.19019.

Dimension legend, used in every array annotation of the package:

    B batch          T query length   S key length     D model width
    N heads          H head width     F MLP width      V vocabulary     L layers
    E embedding width
"""

__version__ = "0.1.0"
