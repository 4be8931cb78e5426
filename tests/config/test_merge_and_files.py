"""Reading and merging: YAML files, overlays, command-line words, and the sentences of mistakes."""

import pytest

from wrimnet.config import get_cfg, setup_cfg
from wrimnet.config.merge import (
    Layer,
    layer_of_words,
    merge_layer,
    read_config_file,
    read_overlay_file,
)

CPU = ("MODEL.DEVICE", "cpu")


def merged(*words):
    cfg = get_cfg()
    merge_layer(cfg, layer_of_words(words))
    return cfg


def write(path, text):
    path.write_text(text)
    return path


def test_int_is_accepted_where_a_float_is_expected():
    cfg = merged("SOLVER.WEIGHT_DECAY", "0", "MODEL.WRIM.TRIPLET.MARGIN", "1")
    assert cfg.SOLVER.WEIGHT_DECAY == 0.0
    assert type(cfg.SOLVER.WEIGHT_DECAY) is float
    assert type(cfg.MODEL.WRIM.TRIPLET.MARGIN) is float


def test_int_is_accepted_in_yaml_and_in_a_sequence_of_floats():
    cfg = get_cfg()
    content = {"SOLVER.BASE_LR": 1, "INPUT.REA.ASPECT": [1, 2]}
    merge_layer(cfg, Layer("a.yml", content))
    assert type(cfg.SOLVER.BASE_LR) is float
    assert cfg.INPUT.REA.ASPECT == (1.0, 2.0)
    assert {type(value) for value in cfg.INPUT.REA.ASPECT} == {float}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SOLVER.MAX_EPOCH", "1.5"),
        ("SOLVER.MAX_EPOCH", "True"),
        ("SOLVER.BASE_LR", "fast"),
        ("SOLVER.BASE_LR", "True"),
        ("MODEL.BACKBONE.PRETRAIN", "0"),
        ("INPUT.SIZE_TRAIN", "(64.0, 32)"),
        ("MODEL.WRIM.EMBEDDING_PARTS", "(1, 2)"),
    ],
)
def test_value_of_another_type_names_key_value_and_source(name, text):
    with pytest.raises(ValueError, match=rf"{name} = .* in the overrides: expected a"):
        merged(name, text)


def test_a_lone_value_for_a_sequence_says_how_a_sequence_of_one_is_written():
    with pytest.raises(ValueError, match=r"a sequence of one is written \(3,\)"):
        merged("MODEL.WRIM.MIIM.SHARED_STAGES", "3")
    assert merged("MODEL.WRIM.MIIM.SHARED_STAGES", "(3,)").MODEL.WRIM.MIIM.SHARED_STAGES == (3,)


@pytest.mark.parametrize(
    ("text", "value"), [("1", "1"), ("None", "None"), ("(a", "(a"), ("[1]", "[1]")]
)
def test_text_keys_take_words_that_read_as_other_values(text, value):
    assert value == merged("OUTPUT_DIR", text).OUTPUT_DIR


def test_sequences_keep_the_type_of_the_default():
    cfg = merged("SOLVER.STEPS", "(1, 2)", "MODEL.WRIM.MIIM.SEPARATE_STAGES", "[4]")
    assert cfg.SOLVER.STEPS == [1, 2]
    assert cfg.MODEL.WRIM.MIIM.SEPARATE_STAGES == (4,)


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("MODEL.WRIM.MIN.STRIPES", "MODEL.WRIM.MAIN.STRIPES"),
        ("model.wrim.main.stripes", "MODEL.WRIM.MAIN.STRIPES"),
        ("SOLVER.MAX_EPOCHS", "SOLVER.MAX_EPOCH"),
        ("MODEL.WRIM.CMKIC.WIEGHT", "MODEL.WRIM.CMKIC.WEIGHT"),
    ],
)
def test_unknown_key_names_the_nearest(typed, nearest):
    with pytest.raises(KeyError, match=f"unknown config key '{typed}'.*nearest.*'{nearest}'"):
        merged(typed, "1")


def test_unknown_key_far_from_all_points_to_the_list():
    with pytest.raises(KeyError, match="help-config lists the known keys"):
        merged("q", "1")


def test_unknown_key_in_a_file_names_the_file(tmp_path):
    path = write(tmp_path / "a.yml", "MODEL:\n  WRIM:\n    MIIM:\n      FUSSION: add\n")
    with pytest.raises(KeyError, match=r"MODEL.WRIM.MIIM.FUSSION' in .*a.yml.*MIIM.FUSION"):
        setup_cfg(str(path))


def test_a_group_of_keys_cannot_be_set():
    with pytest.raises(KeyError, match=r"'MODEL.WRIM' in the overrides is a group of keys"):
        merged("MODEL.WRIM", "1")


@pytest.mark.parametrize("text", ["SOLVER: {MAX_EPOCH: {A: 1}}", "SOLVER: {MAX_EPOCH: {}}"])
def test_a_key_cannot_be_a_group(tmp_path, text):
    with pytest.raises((KeyError, ValueError), match=r"SOLVER.MAX_EPOCH"):
        setup_cfg(str(write(tmp_path / "a.yml", text)))


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("SOLVER.STEPS", "[80, 'x']", "expected a list of int such as .80, 120., got a list of int "
         "and str"),
        ("INPUT.REA.AREA", "(1, 'x')", "expected a tuple of float such as .*, got a list of float "
         "and str"),
    ],
)  # fmt: skip
def test_wrong_element_of_a_sequence_is_described(name, text, problem):
    with pytest.raises(ValueError, match=problem):
        merged(name, text)


@pytest.mark.parametrize("text", ["010", "1:30", "0b_", "1_"])
def test_integers_are_decimal(tmp_path, text):
    """YAML 1.1 reads 010 as 8 and 1:30 as 90; a user who writes that means neither."""
    path = write(tmp_path / "a.yml", f"SOLVER: {{MAX_EPOCH: {text}}}\n")
    with pytest.raises(ValueError, match=f"MAX_EPOCH = '{text}' in .*a.yml: expected an int"):
        setup_cfg(str(path))


def test_numbers_of_yaml_are_those_of_the_command_line(tmp_path):
    text = "SOLVER: {MAX_EPOCH: -0, BASE_LR: 3.5e-4, GAMMA: 1e-1, WEIGHT_DECAY: .5, ETA_MIN_LR: 0}"
    content = read_config_file(write(tmp_path / "a.yml", text))
    cfg = get_cfg()
    merge_layer(cfg, Layer("a.yml", content))
    solver = cfg.SOLVER
    found = (solver.MAX_EPOCH, solver.BASE_LR, solver.GAMMA, solver.WEIGHT_DECAY, solver.ETA_MIN_LR)
    assert found == (0, 3.5e-4, 0.1, 0.5, 0.0)
    read = read_config_file(write(tmp_path / "b.yml", "A: [1, 2.5, 1.0e-3, 7e3, +2]"))["A"]
    assert read == [1, 2.5, 1e-3, "7e3", 2]


def test_odd_number_of_words_is_a_sentence():
    with pytest.raises(ValueError, match=r"'C' has no value in \['A', 'B', 'C'\]"):
        merged("A", "B", "C")


def test_a_word_may_hold_key_and_value():
    pairs, words = ["SEED=4", "OUTPUT_DIR=a=b"], ["SEED", "4", "OUTPUT_DIR", "a=b"]
    assert merged(*pairs) == merged(*words) == merged(words[0], words[1], pairs[1])
    with pytest.raises(ValueError, match=r"SOLVER.MAX_EPOCH = '' in the overrides: expected a"):
        merged("SOLVER.MAX_EPOCH=")


@pytest.mark.parametrize("words", ["SEED = 4", "SEED= 4", "SEED =4", "SOLVER.OPT=Adam SEED= 4"])
def test_spaces_around_the_sign_are_told(words):
    with pytest.raises(ValueError, match="SEED: leave no space around '=', as in"):
        merged(*words.split())


def test_an_empty_value_may_stand_before_the_next_key():
    assert merged("MODEL.WEIGHTS=", "SEED", "4").SEED == 4


def test_a_later_word_counts():
    assert merged("SEED", "1", "SEED=2").SEED == 2


def test_overlays_are_laid_in_order_and_words_over_them(tmp_path):
    base = write(tmp_path / "base.yml", "SOLVER: {MAX_EPOCH: 10, GAMMA: 0.5}\nSEED: 1\n")
    one = write(tmp_path / "one.yml", "SOLVER: {MAX_EPOCH: 20}\nSEED: 2\n")
    two = write(tmp_path / "two.yml", "SOLVER: {MAX_EPOCH: 30}\n")
    cfg = setup_cfg(str(base), [str(one), str(two)], [*CPU, "SEED", "4"])
    assert (cfg.SOLVER.MAX_EPOCH, cfg.SOLVER.GAMMA, cfg.SEED) == (30, 0.5, 4)
    assert setup_cfg(str(base), [str(two), str(one)], CPU).SOLVER.MAX_EPOCH == 20


@pytest.mark.parametrize(
    ("overlays", "words", "folder"),
    [
        ((), (), "logs/mine"),
        (("rate",), (), "logs/mine-rate"),
        (("rate", "folder.of"), (), "logs/elsewhere"),
        (("rate", "long"), (), "logs/mine-rate-long"),
        (("long", "rate"), (), "logs/mine-long-rate"),
        (("rate",), ("OUTPUT_DIR", "logs/given"), "logs/given"),
        (("rate",), ("OUTPUT_DIR", "logs/mine"), "logs/mine"),
    ],
)
def test_overlays_are_part_of_the_folder_unless_it_is_given(tmp_path, overlays, words, folder):
    base = write(tmp_path / "base.yml", "OUTPUT_DIR: logs/mine\n")
    write(tmp_path / "rate.yml", "SOLVER.BASE_LR: 0.001\n")
    write(tmp_path / "long.yml", "SOLVER.MAX_EPOCH: 20\n")
    write(tmp_path / "folder.of.yml", "OUTPUT_DIR: logs/elsewhere\n")
    files = [str(tmp_path / f"{name}.yml") for name in overlays]
    assert folder == setup_cfg(str(base), files, [*CPU, *words]).OUTPUT_DIR
    working_folder = write(tmp_path / "base.yml", "OUTPUT_DIR: .\n")
    assert setup_cfg(str(working_folder), files[:1], CPU).OUTPUT_DIR == "."  # refused by a training


def test_overlay_with_a_base_is_refused(tmp_path):
    path = write(tmp_path / "a.yml", "_BASE_: b.yml\n")
    with pytest.raises(ValueError, match=r"overlay .*a.yml has a _BASE_"):
        read_overlay_file(path)


def test_bases_are_found_beside_the_file_and_lie_below_it(tmp_path):
    (tmp_path / "deep").mkdir()
    write(tmp_path / "one.yml", "A: {B: 1, C: 1}\nD: 1\n")
    write(tmp_path / "two.yml", "_BASE_: one.yml\nA: {B: 2}\n")
    path = write(tmp_path / "deep" / "three.yml", "_BASE_: ../two.yml\nD: 3\n")
    assert read_config_file(path) == {"A.B": 2, "A.C": 1, "D": 3}


def test_plugins_of_heir_overlay_and_words_add_to_those_below(tmp_path):
    write(tmp_path / "one.yml", "PLUGINS: ('json',)\n")
    write(tmp_path / "two.yml", "_BASE_: one.yml\nSEED: 1\n")
    heir = write(tmp_path / "three.yml", "_BASE_: two.yml\nPLUGINS: [csv, json]\n")
    overlay = write(tmp_path / "overlay.yml", "PLUGINS: [zlib]\n")
    assert read_config_file(heir)["PLUGINS"] == ("json", "csv")
    words = [*CPU, "PLUGINS", "['math', 'csv']"]
    assert setup_cfg(str(heir), [str(overlay)], words).PLUGINS == ("json", "csv", "zlib", "math")
    assert setup_cfg(str(tmp_path / "two.yml"), (), CPU).PLUGINS == ("json",)
    assert setup_cfg(str(heir), (), {"PLUGINS": (), "MODEL.DEVICE": "cpu"}).PLUGINS == (
        "json",
        "csv",
    )


def test_plugin_of_an_overlay_keeps_the_keys_of_the_plugins_below(tmp_path):
    overlay = write(tmp_path / "overlay.yml", "PLUGINS: [json]\n")
    cfg = setup_cfg("configs/LLCM/agw.yml", [str(overlay)], CPU)
    assert cfg.PLUGINS == ("wrimnet.peers", "json")
    assert cfg.MODEL.TWO_STREAM.POOLING == "gem"


def test_plugins_of_another_type_name_the_file(tmp_path):
    write(tmp_path / "base.yml", "PLUGINS: json\n")
    path = write(tmp_path / "heir.yml", "_BASE_: base.yml\nPLUGINS: [csv]\n")
    with pytest.raises(ValueError, match=r"PLUGINS = 'json' in .*base.yml: expected a tuple"):
        setup_cfg(str(path), (), CPU)


@pytest.mark.parametrize(
    ("text", "list_in_yaml"),
    [
        ("MODEL: {WRIM: {MIIM: {STRIDE: (1, 1, 1, 1)}}}", r"\[1, 1, 1, 1\]"),
        ("SOLVER: {STEPS: (5,), GAMMA: 0.1}", r"\[5\]"),
        ("TEST.EXPECTED_RESULTS: [('llcm_ir2vis', mAP, 0.5, 0.1)]", r"\['llcm_ir2vis', mAP, 0.5"),
    ],
)
def test_tuple_inside_braces_says_how_it_is_written(tmp_path, text, list_in_yaml):
    path = write(tmp_path / "a.yml", f"{text}\n")
    with pytest.raises(ValueError, match=f"tuple inside braces or brackets; write {list_in_yaml}"):
        read_config_file(path)


def test_text_in_parentheses_inside_braces_is_a_text(tmp_path):
    path = write(tmp_path / "a.yml", "A: {B: (1), C: '(2', D: ()}\n")
    assert read_config_file(path) == {"A.B": "(1)", "A.C": "(2", "A.D": "()"}


@pytest.mark.parametrize(
    ("base", "heir"),
    [
        ("SOLVER.MAX_EPOCH: 3", "SOLVER: {MAX_EPOCH: 2}"),
        ("SOLVER: {MAX_EPOCH: 3}", "SOLVER.MAX_EPOCH: 2"),
        ("INPUT.REA: {PROB: 0.1}\nSOLVER: {MAX_EPOCH: 3}", "SOLVER: {MAX_EPOCH: 2}"),
    ],
)
def test_value_of_the_heir_counts_however_its_key_is_written(tmp_path, base, heir):
    write(tmp_path / "base.yml", f"{base}\n")
    path = write(tmp_path / "heir.yml", f"_BASE_: base.yml\n{heir}\n")
    assert setup_cfg(str(path), (), CPU).SOLVER.MAX_EPOCH == 2
    overlay = write(tmp_path / "overlay.yml", f"{heir}\n")
    assert setup_cfg(str(tmp_path / "base.yml"), [str(overlay)], CPU).SOLVER.MAX_EPOCH == 2


@pytest.mark.parametrize(
    "text",
    [
        "SOLVER.MAX_EPOCH: 3\nSOLVER: {MAX_EPOCH: 2}",
        "SOLVER: {MAX_EPOCH: 2}\nSOLVER.MAX_EPOCH: 2",
        "INPUT: {REA.PROB: 0.1, REA: {PROB: 0.2}}",
        "INPUT.REA: {PROB: 0.1}\nINPUT: {REA.PROB: 0.1}",
    ],
)
def test_key_that_a_file_sets_twice_is_refused(tmp_path, text):
    for reader in (read_config_file, read_overlay_file):
        with pytest.raises(ValueError, match=r"a.yml sets [A-Z._]* twice, nested and by its dotte"):
            reader(write(tmp_path / "a.yml", text))


def test_circular_base_is_refused(tmp_path):
    write(tmp_path / "a.yml", "_BASE_: b.yml\n")
    write(tmp_path / "b.yml", "_BASE_: ./a.yml\n")
    with pytest.raises(ValueError, match="inherits from itself through _BASE_"):
        read_config_file(tmp_path / "a.yml")


@pytest.mark.parametrize("base", ["https://example.com/a.yml", "s3://bucket/a.yml", "[a.yml]"])
def test_base_that_is_no_local_file_is_refused(tmp_path, base):
    path = write(tmp_path / "a.yml", f"_BASE_: {base}\n")
    with pytest.raises(ValueError, match="is not the path of a local file"):
        read_config_file(path)


def test_base_in_the_home_of_nobody_is_refused(tmp_path):
    path = write(tmp_path / "a.yml", "_BASE_: ~nosuchuser/a.yml\n")
    with pytest.raises(ValueError, match=r"_BASE_: '~nosuchuser/a.yml' in .*a.yml: "):
        read_config_file(path)


def test_missing_base_is_named(tmp_path):
    path = write(tmp_path / "a.yml", "_BASE_: nowhere.yml\n")
    with pytest.raises(FileNotFoundError, match=r"nowhere.yml' does not exist"):
        read_config_file(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing.yml' does not exist"):
        setup_cfg(str(tmp_path / "missing.yml"))


@pytest.mark.parametrize("reader", [read_config_file, read_overlay_file])
def test_python_tag_is_refused_and_its_code_not_run(tmp_path, reader):
    proof = tmp_path / "ran"
    tag = f'!!python/object/apply:os.mkdir ["{proof}"]'
    path = write(tmp_path / "a.yml", f"OUTPUT_DIR: {tag}\n")
    with pytest.raises(ValueError, match="holds a YAML tag, which is refused"):
        reader(path)
    assert not proof.exists()


@pytest.mark.parametrize("text", ["A: [1", "A: 1\n B: 2\n", "\tA: 1"])
def test_broken_yaml_names_the_file(tmp_path, text):
    with pytest.raises(ValueError, match=r"a.yml is not valid YAML(.|\n)*in \".*a.yml\", line"):
        read_config_file(write(tmp_path / "a.yml", text))


def test_binary_file_is_no_yaml(tmp_path):
    path = tmp_path / "a.yml"
    path.write_bytes(b"\xff\xfe\x00\x9d")
    with pytest.raises(ValueError, match="is not valid YAML"):
        read_config_file(path)


def test_file_that_holds_no_keys_is_refused_and_an_empty_one_sets_none(tmp_path):
    with pytest.raises(ValueError, match="expected KEY: value lines"):
        read_config_file(write(tmp_path / "a.yml", "- 1\n- 2\n"))
    assert read_config_file(write(tmp_path / "b.yml", "# nothing\n")) == {}


def test_empty_value_in_yaml_is_a_sentence(tmp_path):
    path = write(tmp_path / "a.yml", "SEED:\n")
    with pytest.raises(ValueError, match=r"SEED = None in .*a.yml: expected an int"):
        setup_cfg(str(path))
