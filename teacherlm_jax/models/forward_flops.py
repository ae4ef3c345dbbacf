"""FLOPs of the matrix products of a forward pass, counted from the shape of a model."""

from teacherlm_jax.config import ModelConfig


def forward_flops(config: ModelConfig, tokens: float, pairs: float, predicted: float) -> float:
    """Return the FLOPs of a forward pass over `tokens` tokens.

    A multiplication and an addition are two operations. Only weights that tokens are multiplied
    with are counted: not the embedding lookup, positions, norms and biases.

    Args:
        config: shape of the model.
        tokens: tokens that the blocks read.
        pairs: pairs of a query and a key that attention needs; n · (n + 1) / 2 for a text of n
            tokens.
        predicted: tokens whose hidden state is multiplied with the output head.

    Raises ValueError if `config.vocab_size` is still 0.
    """
    if config.vocab_size < 1:
        raise ValueError("vocab_size: 0; FLOPs depend on the size of the vocabulary")
    D, E = config.width, config.embedding_width or config.width
    block = (3 + 1 + 4 + 4) * D * D  # queries, keys and values; their output; up; down
    projection = E * D if E != D else 0  # after the embedding, and before the head
    mixed = config.layers * 2 * D * pairs  # scores, and values by weight, of all heads
    weights = (config.layers * block + projection) * tokens
    return 2 * (mixed + weights + (E * config.vocab_size + projection) * predicted)
