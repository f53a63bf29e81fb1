"""A small vision transformer, written to be read: picture -> patch tokens -> blocks of attention -> logits."""

import torch
from torch import Tensor, nn

from helpers.models.networks import ShapesResNet


class Attention(nn.Module):
    """Each token asks all tokens, and takes up a mixture of what they offer.

    Vaswani et al. (2017). Tokens [N, T, K] in, tokens [N, T, K] out. ``softmax`` gives the attention weights
    [N, heads, T, T]: row i tells how much token i takes from each token, and sums to one.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.softmax = nn.Softmax(-1)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what each token takes up, [N, T, K]."""
        q, k, v = self.query_key_value(tokens).chunk(3, -1)  # [N, T, K] each
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))  # [N, heads, T, d]
        weights = self.softmax(q @ k.mT / q.shape[-1] ** 0.5)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention between the tokens, then a small network on each token alone; each adds to what there was."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens [N, T, K] after the block."""
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class ShapesViT(nn.Module):
    """A small vision transformer behind the first stages of a :class:`ShapesResNet`.

    Dosovitskiy et al. (2021) call such a network a hybrid. Takes [N, 3, 128, 128], returns logits [N, classes].
    ``stem``, a ShapesResNet up to ``layer3``, gives 96 numbers for each of 8 x 8 places; ``embed`` makes a token of
    ``width`` numbers of each place. A class token is put before them, ``position`` is added, and the ``blocks`` follow.
    The logits are a linear map of the class token behind ``norm``.

    Args:
        classes: how many classes there are.
        width: how many numbers a token has.
        heads: how many attentions there are side by side in each block; they share the width evenly.
        depth: how many blocks.

    Raises:
        ValueError: the heads cannot share the width evenly.

    >>> import torch
    >>> from helpers.hooks import capture
    >>> from helpers.models import ShapesViT
    >>> net = ShapesViT().eval()
    >>> with capture(net.blocks[2].attention.softmax) as record:
    ...     logits = net(torch.zeros(2, 3, 128, 128))
    >>> logits.shape, record.activations.shape
    (torch.Size([2, 10]), torch.Size([2, 4, 65, 65]))
    """

    def __init__(self, classes: int = 10, width: int = 64, heads: int = 4, depth: int = 3) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads cannot share {width} numbers evenly: choose a width that they divide.")
        trunk = ShapesResNet()
        self.stem = nn.Sequential(
            trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool, trunk.layer1, trunk.layer2, trunk.layer3
        )
        self.embed = nn.Conv2d(96, width, 1)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 65, width) * 0.02)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        for module in [*self.blocks.modules(), self.head]:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def tokens(self, x: Tensor) -> Tensor:
        """Return the class token and the 64 patch tokens behind the last ``norm``, [N, 65, K]."""
        patches = self.embed(self.stem(x)).flatten(2).mT  # [N, 64, K]
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1) + self.position
        return self.norm(self.blocks(tokens))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, classes]."""
        return self.head(self.tokens(x)[:, 0])
