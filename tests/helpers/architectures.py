"""Random architectures, spelled out, for property tests."""

from hypothesis import strategies as st

from cnnviz.architectures import architecture
from cnnviz.errors import ConfigError

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


spelled = _layers().filter(_fits)
