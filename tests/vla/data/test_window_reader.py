import threading

import torch

from vla.data.window_reader import ImageMemory, WindowReader


def test_memory_is_used_again_only_when_nobody_holds_it():
    memory = ImageMemory()
    first = memory((4, 3))
    place = first.data_ptr()
    view = first[1:]
    del first
    assert memory((4, 3)).data_ptr() != place  # the view still shows what was there
    del view
    assert memory((4, 3)).data_ptr() == place
    assert memory((3, 4)).data_ptr() != place
    held = [memory((4, 3)) for _ in range(3 * ImageMemory.KEPT)]
    assert len({tensor.data_ptr() for tensor in held}) == len(held)


def test_each_thread_has_its_own_memory():
    memory, found = ImageMemory(), []
    mine = memory((5,)).data_ptr()
    keep = memory((5,))
    thread = threading.Thread(target=lambda: found.append(memory((5,)).data_ptr()))
    thread.start()
    thread.join()
    assert found[0] not in (mine, keep.data_ptr())


def test_batches_that_are_kept_do_not_change(store):
    reader = WindowReader(store, history=2, horizon=2, episodes=store.split("all"))
    windows = torch.randperm(len(reader)).reshape(7, 4).numpy()
    kept = [reader.read(some).images["front"] for some in windows]
    again = [reader.read(some).images["front"].clone() for some in windows]
    assert all(torch.equal(one, other) for one, other in zip(kept, again, strict=True))
