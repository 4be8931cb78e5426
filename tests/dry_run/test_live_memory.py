"""The peak of the live storages, by kind, on tensors whose sizes are known."""

import torch

from wrimnet.lab.dry_run.memory import REST, LiveMemory


def test_peak_counts_each_storage_once_and_what_was_alive_then():
    memory = LiveMemory("cpu")
    weight, gradient = torch.empty(10), torch.empty(10)  # 40 bytes each
    memory.note([weight, weight.view(2, 5), {"of": gradient}])
    for _ in range(3):  # one at a time
        memory.note(torch.empty(25))
    memory.note(torch.empty(5, device="meta"))
    later = torch.empty(1)
    memory.note((later,))
    found = memory.peak({"weights": [weight], "gradients": [gradient], "of no step": []})
    assert found == {"weights": 40, "gradients": 40, "of no step": 0, REST: 100}
