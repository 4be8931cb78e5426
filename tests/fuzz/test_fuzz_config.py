"""Whatever words, YAML or bytes: a checked configuration, or an error in words."""

from fuzz_examples import examples
from hypothesis import given
from hypothesis import strategies as st

from wrimnet.config import config_hash, get_cfg, setup_cfg
from wrimnet.config.keys import KEYS
from wrimnet.config.tree import get_key, leaf_names

NAMES = [key.name for key in KEYS]
DEFAULTS = {name: get_key(get_cfg(), name) for name in leaf_names(get_cfg())}
SEVERAL = {key.name for key in KEYS if key.several}
EXPECTED = (ValueError, KeyError, FileNotFoundError)
scalars = st.one_of(
    st.integers(-3, 10),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=8),
    st.sampled_from(("fp32", "sigmoid", "cpu", "LLCM", "RegDB", "SYSU_MM01", "[", "'", "1e", "()")),
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=5),
    st.lists(st.integers(0, 8), max_size=5),
    st.lists(st.integers(0, 8), max_size=5).map(tuple),
    st.dictionaries(st.text(max_size=4), scalars, max_size=2),
)
names = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(sorted(DEFAULTS)),
    st.sampled_from(NAMES).map(lambda name: name[:-1]),
    st.text(max_size=12),
)


def assert_checked(make):
    """The configuration has every key at its type, and one hash; or the error is in words."""
    try:
        cfg = make()
    except EXPECTED as error:
        assert len(str(error)) > 15
        return
    assert sorted(leaf_names(cfg)) == sorted(DEFAULTS)
    for name, default in DEFAULTS.items():
        value = get_key(cfg, name)
        if name in SEVERAL and isinstance(value, tuple):
            assert {type(element) for element in value} == {type(default)}, name
        else:
            assert type(value) is type(default), name
    assert len(config_hash(cfg)) == 12


@given(st.lists(st.tuples(names, values), max_size=3))
@examples(60)
def test_overrides(pairs):
    words = [word for name, value in pairs for word in (name, str(value))]
    assert_checked(lambda: setup_cfg("", (), ["MODEL.DEVICE", "cpu", *words]))


@given(st.lists(st.text(max_size=12), max_size=5))
@examples(15)
def test_words_of_any_kind(words):
    assert_checked(lambda: setup_cfg("", (), words))


def nested(name, value):
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


@given(st.lists(st.tuples(names, values), max_size=3))
@examples(30)
def test_yaml(tmp_path_factory, pairs):
    import yaml

    path = tmp_path_factory.mktemp("yaml") / "a.yml"
    content = {}
    for name, value in pairs:
        content.update(nested(name, value))
    path.write_text(yaml.dump(content), encoding="utf-8")
    assert_checked(lambda: setup_cfg(str(path)))


@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(alphabet="AB_.:-[]{}!&*#'\"|>%@` \n\t1e,?", max_size=60).map(str.encode),
        st.text(alphabet="_BASE: ./ay!ml\n", max_size=30).map(str.encode),
    )
)
@examples(40)
def test_files_of_any_kind(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "a.yml"
    path.write_bytes(content)
    assert_checked(lambda: setup_cfg(str(path)))
