"""Floating-point operations that a model needs, however it is computed: what MFU measures by."""

from teacherlm_jax.config import ModelConfig


def model_flops(config: ModelConfig, tokens: float, length: int) -> float:
    """Operations of the matrix products of forward and backward pass over `tokens` tokens.

    `length` is the tokens of a text. A multiplication and an addition are two operations, and the
    backward pass takes twice the forward one, so this is the 6 · N · tokens of PaLM (arXiv
    2204.02311, appendix B) with two differences. Attention counts what a causal mask lets through,
    (length + 1) / 2 keys a query, half of what PaLM counts. N holds the weights that tokens are
    multiplied with: the head, though it may be the embedding, but neither the embedding as such,
    which is a look-up, nor positions, norms and biases. What a program computes again (remat) and
    what it computes behind the mask do not count.

    Raises ValueError for a config whose `vocab_size` is still open.
    """
    if config.vocab_size < 1:
        raise ValueError("vocab_size: 0; operations depend on the vocabulary's size")
    D, E = config.width, config.embedding_width or config.width
    block = (3 + 1 + 4 + 4) * D * D  # queries, keys and values; their output; up; down
    ends = E * config.vocab_size + (2 * E * D if E != D else 0)
    mixing = 2 * D * (length + 1) / 2  # scores, and values by weight, of all heads
    a_token = 2 * (config.layers * (block + mixing) + ends)
    return 3 * a_token * tokens
