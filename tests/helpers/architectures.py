"""Random architectures, spelled out, for property tests."""

from hypothesis import strategies as st

from cnnviz.architectures import architecture
from cnnviz.errors import ConfigError

STUDY = ("lenet5x5", "lenet3x3", "conv5")
# Two residual blocks, the second with more and smaller maps, a stride, pooling behind a block, global average pooling.
BLOCKS = "c4k3p1t2-r4-r6t2-s2-g-f7"
POOLS = ("", "-s1", "-s2")


@st.composite
def _layers(draw: st.DrawFn) -> str:
    convs = [
        f"c{draw(st.integers(1, 4))}k{draw(st.integers(1, 7))}p{draw(st.integers(0, 9))}{draw(st.sampled_from(POOLS))}"
        for _ in range(draw(st.integers(0, 4)))
    ]
    hidden = [f"f{draw(st.integers(1, 12))}" for _ in range(draw(st.integers(0 if convs else 1, 2)))]
    return "-".join([*convs, *hidden])


def _fits(name: str) -> bool:
    try:
        architecture(name)
    except ConfigError:
        return False
    return True


@st.composite
def _blocks(draw: st.DrawFn) -> str:
    stride, pool = st.sampled_from(("", "t2")), st.sampled_from(POOLS)
    kernel, padding = draw(st.integers(1, 5)), draw(st.integers(0, 6))
    parts = [f"c{draw(st.integers(1, 4))}k{kernel}p{padding}{draw(stride)}{draw(pool)}"]
    for _ in range(draw(st.integers(0, 3))):
        parts.append(f"{draw(st.sampled_from(('r4', 'r6', 'c5k3p1', 'c4k2')))}{draw(stride)}{draw(pool)}")
    return "-".join([*parts, *draw(st.sampled_from(([], ["g"], ["f5"], ["g", "f5"])))])


spelled = _layers().filter(_fits)
with_blocks = _blocks().filter(_fits)  # and strides and global average pooling
