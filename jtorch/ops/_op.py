"""What an op is: one declared function on `jax.Array`, from which everything else is derived.

`@op` reads the signature. Parameters annotated `Array`, `Scalar`, `Key` (or a sequence of arrays) are *traced*: they
are inputs of the compiled program. All others are *static*: each new combination of them is a program of its own.
A number is refused for an `Array`; of several `Array | Scalar` one has to be an array; a `Scalar` takes either. A `Fitting`
is a Scalar that is written among the first argument's elements, a `Scale` multiplies the common dtype of the arguments that
are neither: a number that the dtype cannot hold is refused.
`@derived` registers a function made of other ops, which is not compiled by itself.

Nothing here knows of Tensor. A type takes part by having a method `__jtorch_op__(op, traced, static)`, found on the
types of the traced arguments; that is how Tensor records on its tape, and how other types can join.
"""

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import jax
from jax.core import Tracer

from jtorch.ops import _args, _autocast
from jtorch.ops._binding import UNSEEN, define, freeze, handler_of, handlers, respell, static_text
from jtorch.ops._hints import NUMBERS, flat_hint, is_sequence, refused_types, suits, told
from jtorch.ops._kept import Kept
from jtorch.ops._program import Program, spread, unspread

Array = jax.Array
if typing.TYPE_CHECKING:  # inside a body these are arrays, whatever they were when it was called
    Scalar = Fitting = Scale = Key = DType = Any
else:
    Scalar = Annotated[bool | int | float | complex | jax.Array, "scalar"]
    Fitting = Annotated[bool | int | float | complex | jax.Array, "scalar", "fits"]
    Scale = Annotated[bool | int | float | complex | jax.Array, "scalar", "scales"]
    Key = Annotated[jax.Array, "key"]
    DType = Annotated[Any, "dtype"]

registry: dict[str, "Op | Derived"] = {}
"""Every declared op by name."""

key_source: list[Callable[[str, Any], Array]] = []
"""Where a sampling op called without `key=` takes one, given its name and the `generator=` of the call, if any; the
random module puts its source here."""

host_source: list[Callable[["Op", tuple, tuple, Any], Any]] = []
"""What is asked before that for the result itself: where the host draws, with the op's arguments and the generator."""

boxes: list[Callable[[Array], Any]] = []
"""What becomes of the result of numbers alone, which have no type to say it: the Tensor that torch's `add(1, 2)` gives."""


class _Flags:
    """What `op` and `derived` say of a function beside its signature."""

    method: bool
    function: bool
    inplace: bool
    view: bool
    promote: str | None
    differentiable: bool
    alias: tuple[str, ...]
    eager: bool
    tuned: bool
    exact_out: bool
    validate: Callable | None
    node: Callable[..., str] | None
    __signature__: inspect.Signature


class Op(_Flags):
    """A declared op. Called with arrays it is the declared function, jitted; see the module's docstring.

    Attributes beside the flags of `op`: `body` (the function as declared), `bind` (arguments -> (traced, static)
    tuples), `traced` and `static` (parameter names), `key_at` (place of the Key among the traced, or None),
    `light` (whether a call may be of the simplest kind: computed as it is and no view).
    """

    def __init__(self, body: Callable, flags: dict):
        self.__dict__.update(flags)
        self.body = body
        self.__name__ = self.name = self.__qualname__ = body.__name__
        self.__doc__ = body.__doc__
        self.__module__ = body.__module__
        self.__signature__ = inspect.signature(body)
        self.casts = _autocast.policies(self.name)
        self._programs = Kept()
        self.light = not self.view and not self.eager and self.validate is None

    def _read_signature(self):
        hints = self._hints = typing.get_type_hints(self.body, include_extras=True)
        traced, static, given, spread, passed = [], [], [], [], []
        names: dict[str, Any] = {"_freeze": freeze, "_dtype": _args.to_dtype}
        self.key_at = self.inplace_at = None
        starred = False
        for name, p in self.__signature__.parameters.items():
            text = name
            if p.kind is p.VAR_POSITIONAL:
                text, starred = "*" + name, True
            elif p.kind is p.KEYWORD_ONLY and not starred:
                given.append("*")
                starred = True
            if p.default is not p.empty:
                names[f"_default_{name}"] = p.default
                text += f"=_default_{name}"
            given.append(text)
            parts = flat_hint(hints.get(name))
            if jax.Array in parts:
                if "key" in parts:
                    self.key_at = len(traced)
                if p.kind is p.VAR_POSITIONAL or any(is_sequence(x) for x in parts):
                    spread.append(len(traced))
                place = f"t[{len(traced)}]"
                traced.append(name)
            else:
                if name == "inplace":
                    self.inplace_at = len(static)
                place = f"s[{len(static)}]"
                static.append((name, static_text(name, p, parts)))
            star = "*" if p.kind is p.VAR_POSITIONAL else f"{name}=" if p.kind is p.KEYWORD_ONLY else ""
            passed.append(star + place)
        self.traced = tuple(traced)
        self.static = tuple(name for name, _ in static)
        self.spread = tuple(spread)
        self._listed = tuple(i for i in spread if typing.get_origin(hints[traced[i]]) is Sequence)
        self._refused = refused_types({name: hints[name] for i, name in enumerate(traced) if i not in spread})
        self._takes_numbers = bool(traced) and not (self._refused or spread) and self.key_at is None
        marks = {name: flat_hint(hints[name]) for name in traced}
        self.bind = self._binder(", ".join(given), [text for _, text in static], marks, names)
        self._apply = define("apply", f"(f, t, s): return f({', '.join(passed)})", {})

    def _binder(self, given: str, static: list[str], marks: dict[str, Any], names: dict[str, Any]) -> Callable:
        """`bind`: a function with the op's own parameters, which refuses numbers where arrays belong or that do not fit."""
        refused = {f"_refused_{name}": kinds for name, kinds in self._refused.items()}
        tests = [f"type({name}) in _refused_{name}" for name in self._refused]
        test = (" and " if NUMBERS in refused.values() else " or ").join(tests) or "False"
        guard = f"if {test}: _misplaced({', '.join(self._refused)})"
        scaled = ", ".join(name for name, mark in marks.items() if "scales" not in mark)
        for name, mark in marks.items():
            given_number, call = f"\n if type({name}) in _numbers", f"('{self.name}', {name}, "
            if "fits" in mark:
                guard += f"{given_number}: _check_fits{call}{self.traced[0]}.dtype)"
            elif "scales" in mark:
                guard += f"{given_number} and {name} != 1: _check_scale{call}{scaled})"
        listed = [
            n if i not in self.spread else f"tuple({n}) if type({n}) is list else {n}"
            for i, n in enumerate(self.traced)
        ]
        values, frozen = ("({},)".format(", ".join(of)) if of else "()" for of in (listed, static))
        text = f"({given}):\n {guard}\n return {values}, {frozen}"
        names |= {"_misplaced": self._misplaced, "_numbers": NUMBERS}
        names |= {"_check_fits": _args.check_fits, "_check_scale": _args.check_scale}
        return define(self.name, text, names | refused)

    def _misplaced(self, *values: Any) -> None:
        """Raise torch's error for the first of these arguments that has to be an array and is none."""
        named = zip(self._refused.items(), values, strict=True)
        name, kind = next((n, type(value)) for (n, kinds), value in named if type(value) in kinds)
        self._refuse(name, "Tensor", kind)

    def _refuse(self, name: str, expected: str, kind: type) -> NoReturn:
        """Raise torch's error for an argument of the wrong type."""
        place = list(self.__signature__.parameters).index(name) + 1
        raise TypeError(f"{self.name}(): argument '{name}' (position {place}) must be {expected}, not {kind.__name__}")

    def __call__(self, *args, **kwargs):
        generator = None
        if kwargs:
            kwargs = respell(self.__signature__, kwargs)
            if "out" in kwargs and "out" not in self.__signature__.parameters:
                return _into(kwargs.pop("out"), _autocast.without(self, *args, **kwargs), self)
            if self.key_at is not None:
                generator = kwargs.pop("generator", None)
        traced, static = self.bind(*args, **kwargs) if kwargs else self.bind(*args)  # which is faster
        if self.key_at is not None and traced[self.key_at] is None:
            drawn = self._drawn(traced, static, generator)
            if drawn is not None:
                return drawn
            traced = self._with_key(traced, generator)
        if self.spread:
            traced, inside = self._look_inside(traced)
            if inside is not None:
                return inside(self, traced, static)
        for value in traced:
            handler = handlers.get(type(value), UNSEEN)
            if handler is UNSEEN:
                handler = handler_of(type(value))
            if handler is not None:
                return handler(self, traced, static)
        program, flat = self.program(traced, static)
        if self.validate is not None:
            self.check(traced, static)
        out = program.forward(*flat)
        if self._takes_numbers and boxes and all(x is None or type(x) in NUMBERS for x in traced):
            return boxes[0](out)
        return out if program.container in (None, tuple) else program.container(out)

    def program(self, traced: tuple, static: tuple) -> tuple[Program, Sequence]:
        """The program for these static arguments, and the traced ones laid out flat for it."""
        cast = None
        if self.casts is not None and _autocast.running.on:
            named = dict(zip((*self.traced, *self.static), (*traced, *static), strict=True))
            cast = _autocast.chosen(self.name, self.casts, traced, named)
        if not self.spread:
            key = static if cast is None else (static, cast)
            return self._programs.get(key) or self._made(key, static, lambda flat: flat, cast), traced
        if len(traced) == 1 and type(traced[0]) is tuple:  # as `_look_inside` leaves sequences; the usual one
            flat, layout = traced[0], (len(traced[0]),)
        else:
            flat, layout = spread(traced)
        key = (static, layout, cast)
        return self._programs.get(key) or self._made(key, static, lambda flat: unspread(flat, layout), cast), flat

    def _made(self, key: Any, static: tuple, arranged: Callable, cast: _autocast.Cast | None) -> Program:
        """A new program, kept under `key` unless its body refuses the arguments: 1.0 may be wrong where 1 is not.

        Raises:
            TypeError: a static argument is not of the type that it is annotated with.
        """
        for name, value in zip(self.static, static, strict=True):
            hint, kind = self._hints.get(name, Any), self.__signature__.parameters[name].kind
            if not (suits(value, hint) or kind is inspect.Parameter.VAR_POSITIONAL):
                self._refuse(name, told(hint), type(value))
        apply, body = self._apply, self._promoted()

        def run(*flat):
            values = arranged(flat)
            try:
                if cast is None:
                    return _autocast.without(apply, body, values, static)
                return cast.finish(_autocast.without(apply, body, cast.apply(values, self.name), static))
            except Exception:
                self._programs.pop(key, None)
                self._check_given(values)
                raise

        program = self._programs[key] = Program(run, self._node_name(static), self.eager, self.tuned)
        return program

    def _check_given(self, values: tuple) -> None:
        """Raise torch's error where None was given for a number."""
        for name, value in zip(self.traced, values, strict=True):
            if value is None and type(None) not in flat_hint(self._hints[name]):
                self._refuse(name, "Number", type(value))

    def _node_name(self, static: tuple) -> str:
        return self.name if self.node is None else self.node(*static)

    def check(self, traced: Sequence, static: tuple) -> None:
        """Run the op's eager validation, if every traced value is concrete."""
        for value in traced:
            for x in value if type(value) is tuple else (value,):
                if isinstance(x, Tracer):
                    return
        self._apply(self.validate, traced, static)

    def _promoted(self) -> Callable:
        """The declared function with its traced arguments first brought to one dtype, as the flag `promote` says."""
        if self.promote is None:
            return self.body
        body, traced, to_float = self.body, frozenset(self.traced), self.promote == "float"
        parameters = tuple(self.__signature__.parameters)

        def promoted(*args, **kwargs):
            named = dict(zip(parameters, args, strict=False)) | kwargs
            values = _args.promote(*(named[n] for n in parameters if n in traced), to_float=to_float)
            named.update(zip((n for n in parameters if n in traced), values, strict=True))
            return body(**named)

        return promoted

    def _drawn(self, traced: tuple, static: tuple, generator: Any) -> Any:
        """The result drawn otherwise than from a key, or None."""
        return host_source[0](self, traced, static, generator) if host_source else None

    def _with_key(self, traced: tuple, generator: Any) -> tuple:
        _args.check(bool(key_source), f"{self.name}(): expected key=, got none", RuntimeError)
        values = list(traced)
        values[self.key_at] = key_source[0](self.name, generator)
        return tuple(values)

    def _look_inside(self, traced: tuple) -> tuple[tuple, Callable | None]:
        """The traced arguments with their sequences as tuples, and the handler that an element asks for, if any."""
        found = None
        for i in self.spread:
            if type(traced[i]) is not tuple:
                traced = (*traced[:i], self._as_tuple(traced[i], i), *traced[i + 1 :])
            for element in traced[i] if type(traced[i]) is tuple else ():
                handler = handlers.get(type(element), UNSEEN)
                handler = handler_of(type(element)) if handler is UNSEEN else handler
                if handler is not None:
                    found = handler
                    break
        return traced, found

    def _as_tuple(self, value: Any, place: int) -> Any:
        """A sequence among the traced arguments as a tuple; None and an array, where one may be, as they are."""
        if place in self._listed and (isinstance(value, jax.Array) or handler_of(type(value)) is not None):
            self._refuse(self.traced[place], "tuple of Tensors", type(value))
        return value if value is None or isinstance(value, jax.Array) else tuple(value)

    def __get__(self, instance, owner=None):
        """Ops are attributes of the class Tensor and bind there as functions do."""
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self):
        return f"<op {self.name}{self.__signature__}>"

    def __reduce__(self):
        return _by_name, (self.name,)


class _Unread(Op):
    """An op whose signature is read with the first attribute that comes of it: of hundreds, a program uses few."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what inspect and abc look for
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        read = object.__new__(Op)
        read.__dict__.update(self.__dict__)
        read._read_signature()
        self.__dict__.update(read.__dict__)  # all at once, for other threads
        self.__class__ = Op
        return getattr(self, name)


class Derived(_Flags):
    """A registered function made of other ops: it takes arrays or tensors because they do. Flags as for `op`."""

    def __init__(self, body: Callable, flags: dict):
        self.__dict__.update(flags)
        self.body = body
        self.__name__ = self.name = self.__qualname__ = body.__name__
        self.__doc__ = body.__doc__
        self.__module__ = body.__module__
        self.__signature__ = inspect.signature(body)
        self.casts = _autocast.policies(self.name)

    def __call__(self, *args, **kwargs):
        if kwargs:
            kwargs = respell(self.__signature__, kwargs)
            if "out" in kwargs and "out" not in self.__signature__.parameters:
                return _into(kwargs.pop("out"), _autocast.without(self.body, *args, **kwargs), self)
        if self.casts is not None and _autocast.running.on:
            return _autocast.called(self, args, kwargs, registry["_to_copy"])
        try:
            return self.body(*args, **kwargs)
        except AttributeError as error:
            self._check_given(error.obj, args, kwargs)
            raise

    def _check_given(self, lacking: Any, args: tuple, kwargs: dict) -> None:
        """Raise torch's error if the object that lacked an attribute is an argument that is no tensor."""
        if lacking is not None and type(lacking) not in NUMBERS:
            return
        for place, value in enumerate((*args, *kwargs.values()), 1):
            if value is lacking:
                kind = type(value).__name__
                raise TypeError(f"{self.name}(): argument {place} must be Tensor, not {kind}") from None

    __get__ = Op.__get__
    __repr__ = Op.__repr__
    __reduce__ = Op.__reduce__


def op(function: Callable | None = None, /, **flags: Any) -> Any:
    """Declare an op. The flags, all optional:

    method, function: whether it exists as `Tensor.name` and as `jtorch.name` (both True; `F.x`-only ops turn them off).
    inplace: torch has the twin `name_`.
    view: the result shares memory in torch; writes go through. Its arrays must be selections of the first argument.
    promote: "same" brings the traced arguments to torch's common dtype before the body runs, "float" also turns
        integers into the default float dtype. None leaves them.
    differentiable: False for results that never carry gradients.
    alias: further names, or one.
    eager: the result's shape depends on values; never compiled.
    tuned: called alone, it is compiled with `compiler_options`: convolutions.
    exact_out: `out=` must have the dtype of the result, where otherwise it may be one that the result can be cast to.
    validate: a function of the op's own arguments that raises on bad values; runs only where these are concrete.
    node: a function of the static arguments that gives the name of the op's program, where one op is several of torch's.
    """
    return _declare(_Unread, function, flags)


def derived(function: Callable | None = None, /, **flags: Any) -> Any:
    """Declare a function made of other ops. Flags: method, function, inplace, view, alias, as for `op`."""
    return _declare(Derived, function, flags)


_FLAGS = {
    "method": True, "function": True, "inplace": False, "view": False, "promote": None, "differentiable": True,
    "alias": (), "eager": False, "tuned": False, "exact_out": False, "validate": None, "node": None,
}  # fmt: skip


def _declare(kind: type, function: Callable | None, flags: dict) -> Any:
    unknown = flags.keys() - _FLAGS.keys()
    if unknown:
        raise TypeError(f"unknown op flags {sorted(unknown)}")
    if function is None:
        return lambda f: _declare(kind, f, flags)
    flags = _FLAGS | flags
    if isinstance(flags["alias"], str):
        flags["alias"] = (flags["alias"],)
    made = kind(function, flags)
    for name in (made.name, *made.alias):
        if name in registry:
            raise TypeError(f"op {name} is declared twice: {registry[name].__module__} and {made.__module__}")
        registry[name] = made
    return made


def _by_name(name: str) -> Any:
    return registry[name]


def _into(out: Any, result: Any, op: _Flags) -> Any:
    """Deliver a result into `out=`, a tensor or a tuple of them."""
    if isinstance(out, tuple | list):
        for o, r in zip(out, result, strict=True):
            _into(o, r, op)
        return type(result)._make(out) if hasattr(result, "_make") else tuple(out)
    take: Any = getattr(out, "__jtorch_out__", None)
    _args.check(
        take is not None, f"out=: expected a Tensor, got {type(out).__name__}; arrays cannot be written", TypeError
    )
    if op.exact_out:
        dtypes = [_args.to_dtype(x.dtype) for x in (result, out)]
        _args.check(dtypes[0] == dtypes[1], f"out=: expected a Tensor of {dtypes[0]}, got {dtypes[1]}", RuntimeError)
    take(result, op.name)
    return out
