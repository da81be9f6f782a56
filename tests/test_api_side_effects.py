"""A model is lent, not given: after a run it is as it was found, whatever it is and whatever happened."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustarena
from adversarial.borrowing import borrowed
from adversarial.errors import ModelError, NotApplicable
from adversarial.victims import modules_of


THREAT = "pixels-linf:0.2"
CLASSES = 5


def images(rows: int = 12) -> Tensor:
    return torch.rand(rows, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """A convolution, normalisation and dropout; `after` calls it raises."""

    def __init__(self, after: int = 1 << 30) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
            self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(64, CLASSES))
        self.left: int = after

    def forward(self, values: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("out of memory")
        logits: Tensor = self.head(self.body(values))
        return logits


def labels() -> Tensor:
    with torch.no_grad():
        return Network().eval()(images()).argmax(1)


def found_in(module: nn.Module) -> tuple[Any, ...]:
    """All that a run must leave alone."""
    return (
        [part.training for part in module.modules()],
        [weight.requires_grad for weight in module.parameters()],
        [weight.grad is None or weight.grad.clone() for weight in module.parameters()],
        {name: value.clone() for name, value in module.state_dict().items()},
        torch.random.get_rng_state(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    )


def equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def half_trained() -> Network:
    """Part in training mode, part frozen, and gradients of the last step still there."""
    module = Network().train()
    module(images()).sum().backward()
    module.body.eval()
    module.body[0].bias.requires_grad_(False)
    return module


def run_attack(model: Any) -> None:
    robustarena.attack(model, images(), labels(), "pgd", THREAT, steps=3)


def run_evaluation(model: Any) -> None:
    robustarena.evaluate(model, images(), labels(), ("noise", "fgsm"), THREAT)


RUNS = [run_attack, run_evaluation]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    "made", [Network, lambda: Network().eval(), lambda: Network().requires_grad_(False), half_trained]
)
def test_a_module_is_as_it_was_found(run: Callable[[Any], None], made: Callable[[], Network]) -> None:
    module = made()
    before = found_in(module)
    run(module)
    assert equal(found_in(module), before)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_module_is_as_it_was_found_after_an_error(run: Callable[[Any], None], after: int) -> None:
    module = half_trained()
    module.left = after
    before = found_in(module)
    with pytest.raises((RuntimeError, ModelError), match="out of memory"):
        run(module)
    assert equal(found_in(module), before)


def test_surrogates_are_lent_too() -> None:
    modules = [half_trained(), half_trained()]
    before = [found_in(module) for module in modules]
    robustarena.attack(modules[0], images(), labels(), "transfer", THREAT, surrogates=modules)
    robustarena.attack(modules[0], images(), labels(), "transfer", THREAT, surrogates=modules[1])
    assert equal([found_in(module) for module in modules], before)


def test_a_training_loop_goes_on_where_it_was() -> None:
    """What an attack broke: weights that no longer learn, and dropout that no longer drops."""
    trained = []
    for attacked in (False, True):
        module = Network().train()
        optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            for _ in range(3):
                if attacked:
                    run_attack(module)
                loss = nn.functional.cross_entropy(module(images()), torch.arange(12) % CLASSES)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        trained.append(module.state_dict())
    assert equal(trained[0], trained[1])


def test_while_it_is_lent_a_module_is_frozen_and_in_evaluation_mode() -> None:
    seen: set[tuple[bool, ...]] = set()

    class Looking(Network):
        def forward(self, values: Tensor) -> Tensor:
            modes = any(part.training for part in self.modules())
            seen.add((modes, any(weight.requires_grad for weight in self.parameters())))
            return super().forward(values)

    for run in RUNS:
        run(Looking().train())
    assert seen == {(False, False)}


def test_a_module_that_does_more_than_set_flags_is_brought_back_its_own_way() -> None:
    """Adapters merge their weights for evaluation, and must take them out again."""

    class Merging(Network):
        merged = False

        def train(self, mode: bool = True) -> Merging:
            self.merged = not mode
            super().train(mode)
            return self

    module = Merging().train()
    module.body.eval()
    run_attack(module)
    assert not module.merged
    assert (module.training, module.body.training, module.head.training) == (True, False, True)


def number(model: Any) -> tuple[float, ...]:
    found = robustarena.evaluate(model, images(), labels(), ("fgsm", "pgd"), THREAT)
    return (found.clean, found.robust, *found.attacks.values())


@pytest.fixture(scope="module")
def right() -> tuple[float, ...]:
    found = number(Network().eval())
    assert found[0] == 1
    assert 0 < found[1] < 1
    return found


def scripted(how: str) -> nn.Module:
    class Plain(nn.Module):  # a counter is no business of a compiled script
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = Network().body, Network().head

        def forward(self, values: Tensor) -> Tensor:
            logits: Tensor = self.head(self.body(values))
            return logits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have us use torch.export
        if how == "traced":
            traced: nn.Module = torch.jit.trace(nn.Sequential(Network().body, Network().head).eval(), images())
            return traced
        module: nn.Module = torch.jit.script(nn.Sequential(Network().body, Network().head))
        return torch.jit.freeze(module.eval()) if how == "frozen" else module


@pytest.mark.parametrize("how", ["scripted", "traced", "frozen"])
def test_compiled_scripts(how: str, right: tuple[float, ...]) -> None:
    module = scripted(how)
    modes = [getattr(part, "training", None) for part in module.modules()]
    trainable = [weight.requires_grad for weight in module.parameters()]
    assert number(module) == right
    assert [getattr(part, "training", None) for part in module.modules()] == modes
    assert [weight.requires_grad for weight in module.parameters()] == trainable


def exported(dynamic: bool) -> Any:
    module = nn.Sequential(Network().body, Network().head).eval()
    shapes = ({0: torch.export.Dim.DYNAMIC},) if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module, (images(),), dynamic_shapes=shapes)


def test_exported_programs(right: tuple[float, ...]) -> None:
    module = exported(dynamic=True).module()
    before = [part.training for part in module.modules()], [weight.requires_grad for weight in module.parameters()]
    assert number(module) == right
    assert before == (
        [part.training for part in module.modules()],
        [weight.requires_grad for weight in module.parameters()],
    )


def test_an_exported_program_of_one_batch_size_is_one_sentence() -> None:
    with pytest.raises(ModelError, match=r"batches come in any size\): AssertionError: .*12") as caught:
        number(exported(dynamic=False).module())
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"use `exported_program.module\(\)` instead"):
        number(exported(dynamic=True))


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_module(right: tuple[float, ...]) -> None:
    module = torch.compile(nn.Sequential(Network().body, Network().head), backend="eager")
    assert number(module) == right
    assert module.training
    assert all(weight.requires_grad for weight in module.parameters())


def test_data_parallel(right: tuple[float, ...]) -> None:
    assert number(nn.DataParallel(Network())) == right


class Serving:
    """An object that keeps its model and is called."""

    def __init__(self) -> None:
        self.module = Network()

    def __call__(self, values: Tensor) -> Tensor:
        logits: Tensor = self.module(values)
        return logits

    def predict(self, scale: float, values: Tensor) -> Tensor:
        return scale * self(values)


def functions() -> dict[str, tuple[Callable[[Tensor], Tensor], nn.Module]]:
    module, serving = Network(), Serving()

    def closed(values: Tensor) -> Tensor:
        logits: Tensor = module(values)
        return logits

    def through_an_object(values: Tensor) -> Tensor:
        return serving(values)

    return {
        "a function": (closed, module),
        "a function of an object": (through_an_object, serving.module),
        "a lambda": (lambda values: closed(values), module),
        "a method": (module.forward, module),
        "a partial": (functools.partial(serving.predict, 1.0), serving.module),
        "an object": (serving, serving.module),
    }


@pytest.mark.parametrize("name", list(functions()))
def test_functions_are_models_and_the_modules_in_them_are_lent(name: str, right: tuple[float, ...]) -> None:
    function, module = functions()[name]
    before = found_in(module)
    assert modules_of(function) == [module]
    assert number(function) == right
    assert equal(found_in(module), before)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_that_the_caller_switched_off(mode: Callable[[], Any], right: tuple[float, ...]) -> None:
    module = Network()
    with mode():
        before = found_in(module)
        values = images() * 1  # under inference_mode a tensor that no graph may keep
        found = robustarena.evaluate(module, values, labels() * 1, ("fgsm", "pgd"), THREAT)
        attacked = robustarena.attack(module, values, labels() * 1, "fgsm", THREAT)
        assert equal(found_in(module), before)
    assert (found.clean, found.robust, *found.attacks.values()) == right
    assert torch.equal(attacked.success, Network().eval()(attacked.inputs).argmax(1) != labels())


def test_weights_without_any_gradient_are_one_sentence() -> None:
    with torch.inference_mode():
        module = Network()
    with pytest.raises(ModelError, match=r"made under torch.inference_mode\(\)"):
        run_attack(module)
    with pytest.raises(ModelError, match="call the model once"):
        run_attack(nn.Sequential(nn.Flatten(), nn.LazyLinear(5)))


def test_a_model_without_a_gradient_is_said_to_have_none() -> None:
    module = Network().eval()

    @torch.no_grad()
    def blind(values: Tensor) -> Tensor:
        logits: Tensor = module(values)
        return logits

    with pytest.raises(NotApplicable, match="no gradient of the victim's scores reaches its input"):
        run_attack(blind)
    found = robustarena.evaluate(blind, images(), labels(), threat=THREAT)
    assert set(found.attacks) == {"noise"}
    assert set(found.left_out) == {"fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t"}
    assert not found.complete


def test_a_model_that_draws_leaves_the_generator_where_it_was() -> None:
    before = torch.random.get_rng_state()
    with contextlib.suppress(Exception):
        run_evaluation(lambda values: Network().eval()(values + 0.01 * torch.randn_like(values)))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_lending_can_be_nested() -> None:
    module = half_trained()
    before = found_in(module)
    with borrowed(module, module):
        with borrowed(module):
            assert not any(part.training for part in module.modules())
        assert not any(weight.requires_grad for weight in module.parameters())
    assert equal(found_in(module), before)


class Counting(Network):
    """Writes into a buffer of its own at every call, and cannot be trained any more."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(values)


def test_buffers_hold_what_they_held() -> None:
    module = Counting()
    before = found_in(module)
    with contextlib.suppress(robustarena.RobustArenaError):
        robustarena.attack(module, images(), labels(), "fgsm", THREAT)
    assert float(module.calls) == 0
    after = found_in(module)
    assert before[:2] == after[:2]
    assert all(torch.equal(before[3][name], after[3][name]) for name in before[3])


def test_a_module_that_fails_to_train_is_given_back_all_the_same() -> None:
    class Stubborn(Network):
        def train(self, mode: bool = True) -> Stubborn:
            if mode:
                raise ValueError("cannot train")
            return super().train(mode)

    stubborn, other = Stubborn(), Network()
    robustarena.attack(other, images(), labels(), "transfer", THREAT, surrogates=[stubborn])
    for module in (stubborn, other):
        assert all(part.training for part in module.modules())
        assert all(weight.requires_grad for weight in module.parameters())
