"""A gated recurrent unit over whole sequences, several times faster on a CPU than torch.nn.GRU in training.

The input's share of the gates is one product over all hops; only the recurrent product runs hop by hop, and
its gradient is written out, so that weight gradients are one product over all hops too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


class _Recurrence(torch.autograd.Function):
    """Hidden states (t, b, h) from the input's share of the gates (t, b, 3h), hop by hop.

    Gates are in the order reset, update, new. With g = h' U + c of the state before, r and z = sigmoid(x + g),
    n = tanh(x_n + r g_n), h = n + z (h' - n) (the form of torch.nn.GRU).
    """

    @staticmethod
    def forward(ctx: FunctionCtx, from_x: Tensor, first: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
        t, b, width = from_x.shape
        h = width // 3
        states = from_x.new_empty(t + 1, b, h)
        states[0] = first
        gates, new, from_past = (from_x.new_empty(t, b, n) for n in (2 * h, h, h))
        product = from_x.new_empty(b, width)
        hops = zip(
            from_x[..., : 2 * h].unbind(0), from_x[..., 2 * h :].unbind(0), gates.unbind(0),
            gates[..., :h].unbind(0), gates[..., h:].unbind(0), new.unbind(0), from_past.unbind(0),
            states[:-1].unbind(0), states[1:].unbind(0), strict=True,
        )  # fmt: skip
        for x_gates, x_new, gate, r, z, n, g_n, past, now in hops:
            torch.addmm(bias, past, recurrent, out=product)
            torch.add(x_gates, product[:, : 2 * h], out=gate).sigmoid_()
            g_n.copy_(product[:, 2 * h :])
            torch.addcmul(x_new, r, g_n, out=n).tanh_()
            torch.lerp(n, past, z, out=now)
        ctx.save_for_backward(states, gates, new, from_past, recurrent)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        saved: tuple[Tensor, ...] = ctx.saved_tensors  # type: ignore[attr-defined]  # torch's stub lacks it
        states, gates, new, from_past, recurrent = saved
        t, b, h = new.shape
        r, z = gates[..., :h].contiguous(), gates[..., h:].contiguous()
        to_update = (states[:-1] - new) * z * (1 - z)
        to_new = (1 - z) * (1 - new * new)
        to_reset = from_past * r * (1 - r)
        back = recurrent.t().contiguous()
        gate_gradient = gradient.new_empty(t, b, 3 * h)  # of the recurrent product
        new_gradient = gradient.new_empty(t, b, h)
        state_gradient = gradient.new_zeros(b, h)
        hops = zip(
            gradient.unbind(0), to_update.unbind(0), to_new.unbind(0), to_reset.unbind(0), r.unbind(0),
            z.unbind(0), gate_gradient.unbind(0), gate_gradient[..., :h].unbind(0),
            gate_gradient[..., h : 2 * h].unbind(0), gate_gradient[..., 2 * h :].unbind(0),
            new_gradient.unbind(0), strict=True,
        )  # fmt: skip
        for here, a_z, a_n, a_r, r_t, z_t, d, d_r, d_z, d_g, d_n in reversed(list(hops)):
            total = state_gradient + here
            torch.mul(total, a_n, out=d_n)
            torch.mul(total, a_z, out=d_z)
            torch.mul(d_n, a_r, out=d_r)
            torch.mul(d_n, r_t, out=d_g)
            state_gradient = torch.addmm(total * z_t, d, back)
        flat = gate_gradient.view(t * b, 3 * h)
        recurrent_gradient = states[:-1].reshape(t * b, h).t() @ flat
        bias_gradient = flat.sum(0)
        gate_gradient[..., 2 * h :] = new_gradient
        return gate_gradient, state_gradient, recurrent_gradient, bias_gradient


class GatedRecurrentUnit(nn.Module):
    """(t, b, n_inputs) and the state (b, n_hidden) to hidden states (t, b, n_hidden); the last is the next state."""

    def __init__(self, n_inputs: int, n_hidden: int) -> None:
        super().__init__()
        self.n_hidden = n_hidden
        bound = 1 / math.sqrt(n_hidden)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))

        self.input_weight = parameter(n_inputs, 3 * n_hidden)
        self.recurrent_weight = parameter(n_hidden, 3 * n_hidden)
        self.input_bias = parameter(3 * n_hidden)
        self.recurrent_bias = parameter(3 * n_hidden)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        t, b, n = x.shape
        from_x = torch.addmm(self.input_bias, x.reshape(t * b, n), self.input_weight).view(t, b, -1)
        hidden: Tensor = _Recurrence.apply(from_x, state, self.recurrent_weight, self.recurrent_bias)  # type: ignore[no-untyped-call]  # torch's stub leaves apply untyped
        return hidden
