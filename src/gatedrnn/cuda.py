"""The loops of `gatedrnn.loops` as CUDA kernels: a whole sequence in one launch, float32.

A step of a small recurrent layer is a few microseconds of arithmetic, less than it takes to launch the handful of
kernels that PyTorch needs for it. Here one block of threads takes a few sequences of one member through all T steps: a
thread owns one column of U, in registers where it fits, and the states stay in shared memory. Blocks share nothing, so
hundreds of models train side by side.

The source is compiled on first use by NVRTC, which comes with PyTorch. `tests/test_cuda.py` runs the same text on the
CPU, a thread a CUDA thread, and holds it against `gatedrnn.loops`; no graphics processor is needed for that.
"""

import functools

import torch
from torch import Tensor

IN_REGISTERS = 128  # up to this hidden size a thread keeps its column of U in registers
MAX_THREADS = 1024  # of a block, and so the largest number of gates times units

SOURCE = r"""
#define HP ((H + 3) / 4 * 4)  // the hidden size, rounded up so that a row can be read four numbers at a time
#define ROWS for (int r = 0; r < R; r++) if (b0 + r < B)
#define A(t, r, n) ((((size_t)p * T + (t)) * B + b0 + (r)) * (n))        // row of an array (P, T, B, n)
#define S(t, r, n) ((((size_t)p * (T + 1) + (t)) * B + b0 + (r)) * (n))  // row of an array (P, T + 1, B, n)

__device__ inline float sigmoid(float a) { return 1.0f / (1.0f + expf(-a)); }

// A thread's column of a matrix (H, n): the numbers that every step multiplies.
struct Column {
#if IN_REGISTERS
    float u[HP];
    __device__ Column(const float* first, int n) {
        #pragma unroll
        for (int k = 0; k < HP; k++) u[k] = k < H ? first[(size_t)k * n] : 0.0f;
    }
    __device__ float at(int k) const { return u[k]; }
#else
    const float* first; int n;
    __device__ Column(const float* first, int n) : first(first), n(n) {}
    __device__ float at(int k) const { return k < H ? first[(size_t)k * n] : 0.0f; }
#endif
    // out[r] += sum over k of s[r][k] u[k], in four partial sums
    __device__ void dot(const float (*s)[HP], float* out) const {
        float4 sum[R];
        for (int r = 0; r < R; r++) sum[r] = make_float4(0, 0, 0, 0);
        #pragma unroll
        for (int k = 0; k < HP; k += 4) {
            const float u0 = at(k), u1 = at(k + 1), u2 = at(k + 2), u3 = at(k + 3);
            #pragma unroll
            for (int r = 0; r < R; r++) {
                const float4 v = *reinterpret_cast<const float4*>(&s[r][k]);
                sum[r].x += u0 * v.x; sum[r].y += u1 * v.y; sum[r].z += u2 * v.z; sum[r].w += u3 * v.w;
            }
        }
        for (int r = 0; r < R; r++) out[r] += (sum[r].x + sum[r].y) + (sum[r].z + sum[r].w);
    }
};

__device__ inline void clear(float* s, int n) {
    for (int k = threadIdx.x; k < n; k += blockDim.x) s[k] = 0.0f;
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(THREADS) tanh_forward(const float* a, const float* U, float* h, int T, int B) {
    const int p = blockIdx.x, b0 = blockIdx.y * R, j = threadIdx.x;
    __shared__ __align__(16) float s[2][R][HP];
    const Column u(U + (size_t)p * H * H + j, H);
    clear(&s[0][0][0], 2 * R * HP);
    float next[R];
    ROWS { s[0][r][j] = h[S(0, r, H) + j]; next[r] = a[A(0, r, H) + j]; }
    __syncthreads();
    for (int t = 0; t < T; t++) {
        float sum[R];
        ROWS { sum[r] = next[r]; if (t + 1 < T) next[r] = a[A(t + 1, r, H) + j]; }
        u.dot(s[t % 2], sum);
        ROWS { h[S(t + 1, r, H) + j] = s[(t + 1) % 2][r][j] = tanhf(sum[r]); }
        __syncthreads();
    }
}

// U_T (P, H, H) holds the rows of U as columns.
extern "C" __global__ void __launch_bounds__(THREADS) tanh_backward(
    const float* grad, const float* h, const float* U_T, float* da, float* dh0, int T, int B) {
    const int p = blockIdx.x, b0 = blockIdx.y * R, j = threadIdx.x;
    __shared__ __align__(16) float s[2][R][HP];
    const Column u(U_T + (size_t)p * H * H + j, H);
    clear(&s[0][0][0], 2 * R * HP);
    float carry[R], g[R], h_t[R];
    ROWS { carry[r] = 0; g[r] = grad[A(T - 1, r, H) + j]; h_t[r] = h[S(T, r, H) + j]; }
    for (int t = T - 1; t >= 0; t--) {
        ROWS {
            const float d = (carry[r] + g[r]) * (1 - h_t[r] * h_t[r]);
            s[t % 2][r][j] = d; da[A(t, r, H) + j] = d; carry[r] = 0;
            if (t) { g[r] = grad[A(t - 1, r, H) + j]; h_t[r] = h[S(t, r, H) + j]; }
        }
        __syncthreads();
        u.dot(s[t % 2], carry);
    }
    ROWS dh0[((size_t)p * B + b0 + r) * H + j] = carry[r];
}

// Gates z, r, (f), h~ side by side: a thread group of H each. FORM 0: reset before the product, 1: after it,
// 2: before it, with a forget gate f of its own in place of 1 - z.
#define G (FORM == 2 ? 4 : 3)
extern "C" __global__ void __launch_bounds__(THREADS) gru_forward(
    float* a, const float* U, const float* b_U, float* h, float* aux, int T, int B) {
    const int p = blockIdx.x, b0 = blockIdx.y * R, n = threadIdx.x, gate = n / H, j = n % H, last = G - 1;
    __shared__ __align__(16) float s[R][HP], rs[R][HP];
    __shared__ float gates[R][G * H];
    const Column u(U + (size_t)p * H * G * H + n, G * H);
    const float bias = FORM == 1 && gate == last ? b_U[(size_t)p * H + j] : 0.0f;
    clear(&s[0][0], R * HP); clear(&rs[0][0], R * HP);
    float next[R];
    ROWS { if (gate == 0) s[r][j] = h[S(0, r, H) + j]; next[r] = a[A(0, r, G * H) + n]; }
    __syncthreads();
    for (int t = 0; t < T; t++) {
        float sum[R], own[R];
        ROWS { own[r] = next[r]; sum[r] = gate == last ? bias : own[r];
               if (t + 1 < T) next[r] = a[A(t + 1, r, G * H) + n]; }
        if (gate != last || FORM == 1) u.dot(s, sum);
        if (gate != last) ROWS {
            const float g = sigmoid(sum[r]);
            gates[r][n] = g; a[A(t, r, G * H) + n] = g;
            if (gate == 1 && FORM != 1) { rs[r][j] = g * s[r][j]; aux[A(t, r, H) + j] = rs[r][j]; }
        }
        __syncthreads();
        if (gate == last) {
            if (FORM != 1) u.dot(rs, sum);
            ROWS {
                if (FORM == 1) aux[A(t, r, H) + j] = sum[r];
                const float z = gates[r][j], keep = FORM == 2 ? gates[r][2 * H + j] : 1 - z;
                const float c = tanhf(own[r] + (FORM == 1 ? gates[r][H + j] * sum[r] : sum[r]));
                a[A(t, r, G * H) + n] = c;
                h[S(t + 1, r, H) + j] = s[r][j] = keep * s[r][j] + z * c;
            }
        }
        __syncthreads();
    }
}

// U_T (P, G, H, H) holds, gate by gate, the rows of U as columns.
extern "C" __global__ void __launch_bounds__(THREADS) gru_backward(
    const float* grad, const float* a, const float* aux, const float* h, const float* U_T, float* da, float* dh0,
    int T, int B) {
    const int p = blockIdx.x, b0 = blockIdx.y * R, n = threadIdx.x, gate = n / H, j = n % H, last = G - 1;
    __shared__ __align__(16) float d[G][R][HP];
    __shared__ float part[G][R][HP];
    const Column u(U_T + ((size_t)p * G + gate) * H * H + j, H);
    clear(&d[0][0][0], G * R * HP); clear(&part[0][0][0], G * R * HP);
    float dh[R], keep[R], x_g[R], x_z[R], x_r[R], x_f[R], x_c[R], x_p[R], x_a[R];
    #define LOAD(t) ROWS { \
        x_g[r] = grad[A(t, r, H) + j]; x_z[r] = a[A(t, r, G * H) + j]; x_r[r] = a[A(t, r, G * H) + H + j]; \
        x_f[r] = FORM == 2 ? a[A(t, r, G * H) + 2 * H + j] : 1 - x_z[r]; \
        x_c[r] = a[A(t, r, G * H) + last * H + j]; x_p[r] = h[S(t, r, H) + j]; x_a[r] = FORM == 1 ? aux[A(t, r, H) + j] : 0; }
    ROWS { dh[r] = 0; keep[r] = 0; }
    LOAD(T - 1)
    for (int t = T - 1; t >= 0; t--) {
        float back[R], z[R], rr[R], prev[R];
        ROWS {
            dh[r] = dh[r] * keep[r] + x_g[r];
            for (int q = 0; q < G; q++) dh[r] += part[q][r][j];
            z[r] = x_z[r]; rr[r] = x_r[r]; keep[r] = x_f[r]; prev[r] = x_p[r]; back[r] = 0;
            const float dc = dh[r] * z[r] * (1 - x_c[r] * x_c[r]);
            float own = 0;
            if (gate == 0) own = dh[r] * (FORM == 2 ? x_c[r] : x_c[r] - prev[r]) * z[r] * (1 - z[r]);
            if (gate == 1 && FORM == 1) own = dc * x_a[r] * rr[r] * (1 - rr[r]);
            if (gate == 2 && FORM == 2) own = dh[r] * prev[r] * keep[r] * (1 - keep[r]);
            if (gate == last) own = dc;
            if (gate != 1 || FORM == 1) {
                da[A(t, r, G * H) + n] = own;
                d[gate][r][j] = gate == last && FORM == 1 ? own * rr[r] : own;
            }
        }
        if (t) LOAD(t - 1)
        __syncthreads();
        if (gate != 1 || FORM == 1) {
            u.dot(d[gate], back);
            ROWS {
                if (gate == last && FORM != 1) {  // back is dL/d(r h)
                    const float dr = back[r] * prev[r] * rr[r] * (1 - rr[r]);
                    d[1][r][j] = dr; da[A(t, r, G * H) + H + j] = dr;
                    back[r] *= rr[r];
                }
                part[gate][r][j] = back[r];
            }
        }
        __syncthreads();
        if (FORM != 1) {
            if (gate == 1) { u.dot(d[1], back); ROWS part[1][r][j] = back[r]; }
            __syncthreads();
        }
    }
    if (gate == 0) ROWS {
        dh[r] *= keep[r];
        for (int q = 0; q < G; q++) dh[r] += part[q][r][j];
        dh0[((size_t)p * B + b0 + r) * H + j] = dh[r];
    }
}

// Gates o, i, f, c~. V (P, 3H): peepholes of o, i, f. SQUASH 1: h = o tanh(c), 0: h = o c.
extern "C" __global__ void __launch_bounds__(THREADS) lstm_forward(float* a, const float* U, const float* V, float* c, float* h, int T, int B) {
    const int p = blockIdx.x, b0 = blockIdx.y * R, n = threadIdx.x, gate = n / H, j = n % H;
    __shared__ __align__(16) float s[R][HP];
    __shared__ float cs[R][HP], gates[R][4 * H];
    const Column u(U + (size_t)p * H * 4 * H + n, 4 * H);
    const float v = PEEPHOLES && gate < 3 ? V[(size_t)p * 3 * H + n] : 0.0f;
    clear(&s[0][0], R * HP);
    float next[R];
    ROWS { if (gate == 0) { s[r][j] = h[S(0, r, H) + j]; cs[r][j] = c[S(0, r, H) + j]; }
           next[r] = a[A(0, r, 4 * H) + n]; }
    __syncthreads();
    for (int t = 0; t < T; t++) {
        float sum[R];
        ROWS { sum[r] = next[r]; if (t + 1 < T) next[r] = a[A(t + 1, r, 4 * H) + n]; }
        u.dot(s, sum);
        if (gate) ROWS {
            const float g = gate == 3 ? tanhf(sum[r]) : sigmoid(sum[r] + v * cs[r][j]);
            gates[r][n] = g; a[A(t, r, 4 * H) + n] = g;
        }
        __syncthreads();
        if (gate == 0) ROWS {
            const float c_t = gates[r][2 * H + j] * cs[r][j] + gates[r][H + j] * gates[r][3 * H + j];
            const float o = sigmoid(sum[r] + v * c_t);
            a[A(t, r, 4 * H) + n] = o; cs[r][j] = c_t; c[S(t + 1, r, H) + j] = c_t;
            h[S(t + 1, r, H) + j] = s[r][j] = o * (SQUASH ? tanhf(c_t) : c_t);
        }
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) lstm_backward(
    const float* grad_h, const float* grad_c, const float* a, const float* c, const float* U_T, const float* V,
    float* da, float* dh0, float* dc0, int T, int B) {
    const int p = blockIdx.x, b0 = blockIdx.y * R, n = threadIdx.x, gate = n / H, j = n % H;
    __shared__ __align__(16) float d[4][R][HP];
    __shared__ float part[4][R][HP];
    const Column u(U_T + ((size_t)p * 4 + gate) * H * H + j, H);
    const float* v = V + (size_t)p * 3 * H + j;
    const float v_o = PEEPHOLES ? v[0] : 0, v_i = PEEPHOLES ? v[H] : 0, v_f = PEEPHOLES ? v[2 * H] : 0;
    clear(&d[0][0][0], 4 * R * HP); clear(&part[0][0][0], 4 * R * HP);
    float dc[R], x_g[R], x_gc[R], x_o[R], x_i[R], x_f[R], x_ct[R], x_c[R], x_p[R];
    #define LOAD_LSTM(t) ROWS { \
        x_g[r] = grad_h[A(t, r, H) + j]; x_gc[r] = grad_c[A(t, r, H) + j]; \
        const float* g = a + A(t, r, 4 * H) + j; x_o[r] = g[0]; x_i[r] = g[H]; x_f[r] = g[2 * H]; x_ct[r] = g[3 * H]; \
        x_c[r] = c[S((t) + 1, r, H) + j]; x_p[r] = c[S(t, r, H) + j]; }
    ROWS dc[r] = 0;
    LOAD_LSTM(T - 1)
    for (int t = T - 1; t >= 0; t--) {
        float back[R];
        ROWS {
            float dh = x_g[r];
            for (int q = 0; q < 4; q++) dh += part[q][r][j];
            const float o = x_o[r], i = x_i[r], f = x_f[r], ct = x_ct[r];
            const float out = SQUASH ? tanhf(x_c[r]) : x_c[r];
            const float d_o = dh * out * o * (1 - o);
            dc[r] += x_gc[r] + dh * o * (SQUASH ? 1 - out * out : 1) + d_o * v_o;
            const float d_i = dc[r] * ct * i * (1 - i), d_f = dc[r] * x_p[r] * f * (1 - f);
            const float own = gate == 0 ? d_o : gate == 1 ? d_i : gate == 2 ? d_f : dc[r] * i * (1 - ct * ct);
            d[gate][r][j] = own; da[A(t, r, 4 * H) + n] = own; back[r] = 0;
            dc[r] = dc[r] * f + d_i * v_i + d_f * v_f;
        }
        if (t) LOAD_LSTM(t - 1)
        __syncthreads();
        u.dot(d[gate], back);
        ROWS part[gate][r][j] = back[r];
        __syncthreads();
    }
    if (gate == 0) ROWS {
        float dh = 0;
        for (int q = 0; q < 4; q++) dh += part[q][r][j];
        dh0[((size_t)p * B + b0 + r) * H + j] = dh; dc0[((size_t)p * B + b0 + r) * H + j] = dc[r];
    }
}
"""


@functools.cache
def kernel(name: str, **sizes: int):
    """One of the kernels above, compiled for its sizes and form."""
    sizes = {"FORM": 0, "PEEPHOLES": 0, "SQUASH": 1, "IN_REGISTERS": int(sizes["H"] <= IN_REGISTERS)} | sizes
    head = "".join(f"#define {key} {value}\n" for key, value in sizes.items())
    return torch.cuda._compile_kernel(head + SOURCE, name)


def _launch(name: str, gates: int, h: Tensor, *arguments: Tensor, **flags: int) -> None:
    """Run a kernel over all members and sequences; h (P, T + 1, B, H)."""
    P, T, B, H = h.shape[0], h.shape[1] - 1, h.shape[2], h.shape[3]
    rows = 1 if H <= IN_REGISTERS else min(B, 4)  # large: several sequences share each reading of U
    compiled = kernel(name, H=H, R=rows, THREADS=gates * H, **flags)
    compiled((P, -(-B // rows), 1), (gates * H, 1, 1), [*arguments, T, B])


def _by_gate(U: Tensor, gates: int) -> Tensor:
    """(P, H, gH) -> (P, g, H, H), each gate's block transposed."""
    return U.unflatten(-1, (gates, -1)).permute(0, 2, 3, 1).contiguous()


def tanh_forward(a: Tensor, U: Tensor, h: Tensor) -> None:
    _launch("tanh_forward", 1, h, a, U.contiguous(), h)


def tanh_backward(grad: Tensor, h: Tensor, U: Tensor, da: Tensor) -> Tensor:
    dh0 = torch.empty_like(h[:, 0])
    _launch("tanh_backward", 1, h, grad, h, _by_gate(U, 1), da, dh0)
    return dh0


def gru_forward(a: Tensor, U: Tensor, b_U: Tensor | None, h: Tensor, aux: Tensor) -> None:
    gates = U.shape[-1] // U.shape[-2]
    form = 2 if gates == 4 else 0 if b_U is None else 1
    _launch("gru_forward", gates, h, a, U.contiguous(), aux if b_U is None else b_U.contiguous(), h, aux, FORM=form)


def gru_backward(grad: Tensor, a: Tensor, aux: Tensor, h: Tensor, U: Tensor, after: bool, da: Tensor) -> Tensor:
    gates = U.shape[-1] // U.shape[-2]
    dh0 = torch.empty_like(h[:, 0])
    form = 2 if gates == 4 else int(after)
    _launch("gru_backward", gates, h, grad, a, aux, h, _by_gate(U, gates), da, dh0, FORM=form)
    return dh0


def lstm_forward(a: Tensor, U: Tensor, V: Tensor | None, c: Tensor, h: Tensor, squash: bool) -> None:
    flags = {"PEEPHOLES": int(V is not None), "SQUASH": int(squash)}
    _launch("lstm_forward", 4, h, a, U.contiguous(), a if V is None else V.contiguous(), c, h, **flags)


def lstm_backward(
    grad_h: Tensor,
    grad_c: Tensor,
    a: Tensor,
    c: Tensor,
    h: Tensor,
    U: Tensor,
    V: Tensor | None,
    squash: bool,
    da: Tensor,
) -> tuple[Tensor, Tensor]:
    dh0, dc0 = torch.empty_like(h[:, 0]), torch.empty_like(h[:, 0])
    flags = {"PEEPHOLES": int(V is not None), "SQUASH": int(squash)}
    arguments = (grad_h, grad_c, a, c, _by_gate(U, 4), a if V is None else V.contiguous(), da, dh0, dc0)
    _launch("lstm_backward", 4, h, *arguments, **flags)
    return dh0, dc0
