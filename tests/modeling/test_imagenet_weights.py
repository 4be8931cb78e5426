"""ImageNet weights: torchvision's keys, wrappers, strictness, and what to do without a network."""

import email.message
import io
from urllib.error import URLError

import pytest
import torch
from tiny_models import make_batch, make_model
from torchvision import models

from wrimnet.modeling.weights import load_imagenet_weights
from wrimnet.modeling.wrim_resnet import WRIMResNet

BUILDERS = {
    "18x": models.resnet18,
    "34x": models.resnet34,
    "50x": models.resnet50,
    "101x": models.resnet101,
}


@pytest.fixture(scope="module")
def torchvision_weights():
    torch.manual_seed(5)
    return models.resnet18().state_dict()


@pytest.fixture
def weights(torchvision_weights):
    return dict(torchvision_weights)


@pytest.fixture
def load(tmp_path):
    def load_content(content, depth="18x"):
        path = tmp_path / "weights.pth"
        torch.save(content, path)
        backbone = WRIMResNet(depth=depth)
        load_imagenet_weights(backbone, depth=depth, path=str(path))
        return backbone

    return load_content


@pytest.mark.parametrize("depth", BUILDERS)
def test_keys_and_shapes_are_those_of_torchvision(depth):
    with torch.device("meta"):
        ours, theirs = WRIMResNet(depth=depth).state_dict(), BUILDERS[depth]().state_dict()
    expected = {name: tensor.shape for name, tensor in theirs.items() if name[:3] != "fc."}
    assert {name: tensor.shape for name, tensor in ours.items()} == expected


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_every_tensor_is_loaded_from_a_flat_or_a_wrapped_file(weights, load, wrapper):
    loaded = load({wrapper: weights, "epoch": 90} if wrapper else weights).state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.items())
    assert set(weights) - set(loaded) == {"fc.weight", "fc.bias"}


def test_file_without_the_classifier_is_accepted(weights, load):
    load({name: tensor for name, tensor in weights.items() if not name.startswith("fc.")})


def test_features_are_those_of_torchvision_with_its_pooling(tmp_path, weights):
    torch.save(weights, tmp_path / "weights.pth")
    backbone = WRIMResNet(depth="18x", last_stride=2, max_pool="torchvision").eval()
    load_imagenet_weights(backbone, depth="18x", path=str(tmp_path / "weights.pth"))
    theirs = models.resnet18()
    theirs.load_state_dict(weights)
    theirs.fc = torch.nn.Identity()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        ours = backbone(images, 1)["main"].mean(dim=(2, 3))
        torch.testing.assert_close(ours, theirs.eval()(images), rtol=1e-4, atol=1e-5)


def test_configuration_loads_them_below_fresh_blocks(tmp_path, weights):
    torch.save(weights, tmp_path / "weights.pth")
    model = make_model(
        MODEL__BACKBONE__PRETRAIN=True,
        MODEL__BACKBONE__PRETRAIN_PATH=str(tmp_path / "weights.pth"),
    )
    state = model.backbone.state_dict()
    assert all(torch.equal(state[name], weights[name]) for name in weights if name in state)
    assert any(name.startswith("miims.") for name in state)
    model(make_batch())


def test_missing_key_is_listed(weights, load):
    del weights["layer3.0.conv1.weight"]
    with pytest.raises(
        ValueError, match=r"do not fit.*\n  missing in the file: layer3.0.conv1.weight$"
    ):
        load(weights)


def test_key_that_is_not_the_backbones_is_listed(weights, load):
    weights["layer5.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"do not fit.*\n  not in the model: layer5.weight$"):
        load(weights)


def test_wrong_shape_is_listed_with_both_shapes(weights, load):
    weights["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    pattern = (
        r"backbone:\n  conv1.weight: \(64, 1, 7, 7\) in the file, \(64, 3, 7, 7\) in the model$"
    )
    with pytest.raises(ValueError, match=pattern):
        load(weights)


def test_weights_of_another_depth_are_refused_with_a_shortened_list(weights, load):
    with pytest.raises(ValueError, match=r"(\n  missing in the file: .*){12}\n  and \d+ more\n"):
        load(weights, depth="50x")


def test_prefix_of_data_parallel_is_taken_off(tmp_path, weights):
    torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, tmp_path / "w.pth")
    backbone = WRIMResNet(depth="18x")
    load_imagenet_weights(backbone, depth="18x", path=str(tmp_path / "w.pth"))
    loaded = backbone.state_dict()
    assert all(torch.equal(loaded[n], weights[n]) for n in loaded)


def test_other_prefixes_are_refused_and_nothing_is_loaded(tmp_path, weights):
    torch.save({f"net.{name}": tensor for name, tensor in weights.items()}, tmp_path / "w.pth")
    backbone = WRIMResNet(depth="18x")
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(ValueError, match=r"(\n  not in the model: net.*){12}\n  and 1"):
        load_imagenet_weights(backbone, depth="18x", path=str(tmp_path / "w.pth"))
    assert all(torch.equal(tensor, before[n]) for n, tensor in backbone.state_dict().items())


def test_file_from_before_batch_counters_is_accepted_and_a_partial_set_is_not(weights, load):
    counters = [name for name in weights if name.endswith("num_batches_tracked")]
    one_missing = {name: tensor for name, tensor in weights.items() if name != counters[0]}
    with pytest.raises(ValueError, match=rf"backbone:\n  missing in the file: {counters[0]}$"):
        load(one_missing)
    old = {name: tensor for name, tensor in weights.items() if name not in counters}
    assert int(load(old).bn1.num_batches_tracked) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, expected a checkpoint"),
        ({"state_dict": 3}, "holds no weights: expected a state dict"),
        ({"a": "b"}, "holds no weights: expected a state dict"),
    ],
)
def test_file_without_a_state_dict_is_refused(load, content, message):
    with pytest.raises(ValueError, match=message):
        load(content)


def test_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="is not a checkpoint that can be read safely"):
        load_imagenet_weights(WRIMResNet(depth="18x"), depth="18x", path=str(path))


def test_missing_file_says_what_to_do(tmp_path):
    path = str(tmp_path / "nowhere.pth")
    with pytest.raises(FileNotFoundError, match=r"nowhere.pth' does not exist; .*PRETRAIN False"):
        load_imagenet_weights(WRIMResNet(depth="18x"), depth="18x", path=path)


@pytest.mark.parametrize("error", [URLError("no route"), OSError("read-only"), TimeoutError("t")])
def test_without_a_network_the_file_and_its_place_are_named(monkeypatch, tmp_path, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    pattern = r"cannot download https://.*resnet18-\w+.pth .*put that file into .*checkpoints.*"
    with pytest.raises(FileNotFoundError, match=pattern + "PRETRAIN_PATH, or set .*PRETRAIN False"):
        load_imagenet_weights(WRIMResNet(depth="18x"), depth="18x", path="")


class Delivery:
    """An answer to a request, as torch.hub reads it: the bytes of some other file."""

    def __init__(self, content):
        self._content = io.BytesIO(content)
        self.read = self._content.read

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._content.close()

    def info(self):
        return email.message.Message()


def test_download_of_another_file_than_the_named_one_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.hub.urlopen", lambda *args, **kwargs: Delivery(b"another file"))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(ValueError, match=r"resnet18-\w+.pth, or its copy.*invalid hash value"):
        load_imagenet_weights(WRIMResNet(depth="18x"), depth="18x", path="")
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_damaged_copy_of_a_download_is_named(monkeypatch, tmp_path):
    name = models.ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / name).write_bytes(b"cut short")
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(ValueError, match=r"its copy in .*checkpoints, is damaged .*remove the"):
        load_imagenet_weights(WRIMResNet(depth="18x"), depth="18x", path="")
