// Training steps of LeNet's family, one network at a time: two convolutions, each with 2x2 pooling, then fully
// connected layers; gradient descent, plain or with momentum, or Adam. A network and its batch stay in a core's
// second-level cache, which no library call by call can give. See lenet.py for the constants (LANES, C1, K1, C2, K2, FC,
// BATCH, AVERAGE, SLOTS, DECAYS) and the memory's layout.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "vectors.h"

static inline vec all(float value) { return vec{} + value; }
static inline vec larger(vec a, vec b) { return b > a ? b : a; }

// -- shapes ------------------------------------------------------------------------------------------------------

constexpr int padded(int n) { return (n + L - 1) / L * L; }
constexpr int SIDE = 32, IN = 3, ROW = 32;               // a picture, and the floats of a row of the first maps
constexpr int W1 = SIDE - K1 + 1, S2 = W1 / 2;           // sides of the first maps, before and after pooling
constexpr int W2 = S2 - K2 + 1, S4 = W2 / 2;             // and of the second
constexpr int P2 = padded(C2), V2 = P2 / L;              // second maps, their channels side by side
constexpr int T2 = K2 * C1, TP = padded(T2), TV = TP / L;  // one row of a second kernel: columns × channels
constexpr int ROW2 = padded(S2 * C1) + 32;               // floats of a row of all first pooled maps, with slack
constexpr int FCS[] = {FC};
constexpr int LAYERS = sizeof(FCS) / sizeof(int) - 1;
constexpr int BLOCK = 10, N = (BATCH + BLOCK - 1) / BLOCK * BLOCK;  // pictures, with silent ones to a full block
constexpr int WIDEST = padded([] { int most = 0; for (int n : FCS) most = most > n ? most : n; return most; }()) + P2;

constexpr int AT_B1 = padded(C1 * K1 * K1 * IN), AT_W2 = AT_B1 + padded(C1), AT_B2 = AT_W2 + K2 * T2 * P2;
constexpr int at_dense(int layer) {
    int at = AT_B2 + P2;
    for (int l = 0; l < layer; l++) at += (FCS[l] + 1) * padded(FCS[l + 1]);
    return at;
}
constexpr int FLOATS = at_dense(LAYERS);
constexpr int STRIDE = FLOATS * (1 + SLOTS);  // of a network: behind its weights is what its optimizer remembers

struct Pictures {  // of one batch, and what the layers make of them
    float in[N][IN][SIDE][ROW], slack[32];
    float map1[N][C1][W1][ROW];
    float pool1[N][S2][ROW2];
    float map2[N][W2 * W2][P2];
    float act[LAYERS + 1][N][WIDEST], grad[LAYERS + 1][N][WIDEST];
    float grad1[C1][W1][ROW], grad2[W2 * W2 + 1][P2], grad_pool1[S2 + 1][ROW2], by_map[C1][S2][ROW / 2];
    vec kernel1[C1][IN][K1][K1], bias1[C1], layer1[AT_W2 / L], kernel2[K2][T2][V2], bias2[V2], turned[K2][P2][TV];
};

// -- activations: 0 sigmoid, 1 tanh, 2 relu, 3 leaky relu ------------------------------------------------------------

// Cephes' expf and tanhf (Moshier 1992), 16 at a time: relative error about 1e-7.
static inline vec exponential(vec x) {
    x = x > 88.0f ? all(88.0f) : x;
    x = x < -87.0f ? all(-87.0f) : x;
    vec shifted = x * 1.44269504088896341f + 12582912.0f, n = shifted - 12582912.0f;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    bits scale = ((bits)shifted - 0x4B400000 + 127) << 23;
    return (p * r * r + r + 1.0f) * (vec)scale;
}

static inline vec hyperbolic(vec x) {
    vec far = 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f), z = x * x;
    vec p = all(-5.70498872745e-3f);
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    return z < 0.390625f ? p * z * x + x : far;
}

static inline vec activate(int kind, vec x) {
    if (kind == 0) return 1.0f / (1.0f + exponential(-x));
    if (kind == 1) return hyperbolic(x);
    return x < 0.0f ? (kind == 3 ? 0.01f * x : vec{}) : x;
}

static inline vec slope(int kind, vec y) {
    if (kind == 0) return y * (1.0f - y);
    if (kind == 1) return 1.0f - y * y;
    return y > 0.0f ? all(1.0f) : all(kind == 3 ? 0.01f : 0.0f);
}

// -- pooling: of the largest value, which is activated then, or the mean of what is activated before ------------------

static inline vec kept(int kind, vec x) { return AVERAGE ? activate(kind, x) : x; }  // of a convolution's values
static inline vec pooled(vec a, vec b) { return AVERAGE ? a + b : larger(a, b); }
static inline vec leaving(int kind, vec pooled) { return AVERAGE ? 0.25f * pooled : activate(kind, pooled); }

// -- learning: what torch.optim does ----------------------------------------------------------------------------------

enum { PLAIN, MOMENTUM, ADAM };  // by what they remember of each weight: nothing, its momentum, its mean and square
constexpr float KEEP_MEAN = 0.9f, KEEP_SQUARE = 0.999f, EPSILON = 1e-8f;

struct Rule {  // of one network at one step; root: of how much of the squares' mean has come in so far
    float rate, momentum, decay, root;
    Rule(const float* rates, int networks, double step) : rate(rates[0]), momentum(rates[networks]) {
        decay = rates[2 * networks];
        root = std::sqrt(1 - std::pow(0.999, step));
        if (SLOTS == ADAM) rate /= 1 - std::pow(0.9, step);
    }
};

struct Squares {  // summed over a layer's weights: of the gradient, and of the change by a rate of one
    vec gradient{}, change{};
};

static inline void learn_from(const Rule& rule, float* at, vec gradient, Squares& squares) {
    vec weight = load(at), change = gradient;
    squares.gradient += gradient * gradient;
    if (DECAYS) change += rule.decay * weight;
    if (SLOTS == MOMENTUM) {
        change += rule.momentum * load(at + FLOATS);
        store(at + FLOATS, change);
    }
    if (SLOTS == ADAM) {
        vec mean = load(at + FLOATS), square = load(at + 2 * FLOATS);
        mean += (1 - KEEP_MEAN) * (change - mean);
        square = KEEP_SQUARE * square + (1 - KEEP_SQUARE) * (change * change);
        store(at + FLOATS, mean);
        store(at + 2 * FLOATS, square);
        change = mean / (root(square) / rule.root + EPSILON);
    }
    squares.change += change * change;
    store(at, weight - rule.rate * change);
}

static void learn_from(const Rule& rule, float* at, const vec* gradient, int vectors, Squares& squares) {
    for (int v = 0; v < vectors; v++) learn_from(rule, at + v * L, gradient[v], squares);
}

// -- forward -------------------------------------------------------------------------------------------------------

static void convolve1(int kind, const float* w, const float* bias, const float in[IN][SIDE][ROW],
                      float out[C1][W1][ROW]) {
    for (int y = 0; y < W1; y++)
        for (int x = 0; x < ROW; x += 2 * L) {
            vec sums[C1][2];
            for (int o = 0; o < C1; o++) sums[o][0] = sums[o][1] = all(bias[o]);
            for (int c = 0; c < IN; c++)
                for (int i = 0; i < K1; i++)
                    for (int j = 0; j < K1; j++) {
                        vec left = load(&in[c][y + i][0] + x + j), right = load(&in[c][y + i][0] + x + j + L);
                        UNROLL(16)
                        for (int o = 0; o < C1; o++) {
                            float weight = w[((o * K1 + i) * K1 + j) * IN + c];
                            sums[o][0] += left * weight;
                            sums[o][1] += right * weight;
                        }
                    }
            for (int o = 0; o < C1; o++) {
                store(out[o][y] + x, kept(kind, sums[o][0]));
                store(out[o][y] + x + L, kept(kind, sums[o][1]));
            }
        }
}

static void pool1(int kind, const float map[C1][W1][ROW], float out[S2][ROW2]) {
    for (int o = 0; o < C1; o++)
        for (int y = 0; y < S2; y++)
            for (int x = 0; x < S2; x += L) {
                const float *top = map[o][2 * y] + 2 * x, *below = map[o][2 * y + 1] + 2 * x;
                vec one = pooled(load(top), load(below)), other = pooled(load(top + L), load(below + L));
                vec values = leaving(kind, pooled(even(one, other), odd(one, other)));
                for (int i = 0; i < std::min(L, S2 - x); i++) out[y][(x + i) * C1 + o] = values[i];
            }
}

static void convolve2(int kind, const float* w, const float* bias, const float in[S2][ROW2], float out[W2 * W2][P2]) {
    for (int v = 0; v < V2; v++)
        for (int y = 0; y < W2; y++) {
            vec sums[W2];
            for (int x = 0; x < W2; x++) sums[x] = load(bias + v * L);
            for (int i = 0; i < K2; i++)
                for (int t = 0; t < T2; t++) {
                    vec weight = load(w + (i * T2 + t) * P2 + v * L);
                    UNROLL(16)
                    for (int x = 0; x < W2; x++) sums[x] += weight * in[y + i][x * C1 + t];
                }
            for (int x = 0; x < W2; x++) store(&out[y * W2 + x][v * L], kept(kind, sums[x]));
        }
}

static void pool2(int kind, const float map[W2 * W2][P2], float* out) {  // out has C2 channels, and room behind
    for (int y = 0; y < S4; y++)
        for (int x = 0; x < S4; x++)
            for (int v = 0; v < V2; v++) {
                const float* at = &map[2 * y * W2 + 2 * x][v * L];
                vec above = pooled(load(at), load(at + P2));
                vec below = pooled(load(at + W2 * P2), load(at + (W2 + 1) * P2));
                store(out + (y * S4 + x) * C2 + v * L, leaving(kind, pooled(above, below)));
            }
}

template <int layer>
static void dense(int kind, const float* w, const float in[N][WIDEST], float out[N][WIDEST]) {
    constexpr int ins = FCS[layer], units = padded(FCS[layer + 1]);
    for (int n = 0; n < N; n += BLOCK)
        for (int u = 0; u < units; u += L) {
            vec sums[BLOCK];
            for (int b = 0; b < BLOCK; b++) sums[b] = load(w + ins * units + u);
            for (int k = 0; k < ins; k++) {
                vec weight = load(w + k * units + u);
                UNROLL(16)
                for (int b = 0; b < BLOCK; b++) sums[b] += weight * in[n + b][k];
            }
            for (int b = 0; b < BLOCK; b++)
                store(&out[n + b][u], layer < LAYERS - 1 ? activate(kind, sums[b]) : sums[b]);
        }
}

// -- backward ------------------------------------------------------------------------------------------------------

// Gradient of the layer's inputs, and the weights' update in the same visit.
template <int layer>
static void dense_back(int kind, const Rule& rule, float* w, const float in[N][WIDEST], const float grad[N][WIDEST],
                       float before[N][WIDEST], Squares& squares) {
    constexpr int ins = FCS[layer], units = padded(FCS[layer + 1]), V = units / L;
    Squares biases;
    for (int k = 0; k < ins; k++) {
        float* row = w + k * units;
        for (int n = 0; n < N; n += BLOCK) {
            vec sums[BLOCK] = {};
            for (int v = 0; v < V; v++) {
                vec weight = load(row + v * L);
                UNROLL(16)
                for (int b = 0; b < BLOCK; b++) sums[b] += weight * load(&grad[n + b][v * L]);
            }
            for (int b = 0; b < BLOCK; b++) before[n + b][k] = sum(sums[b]);
        }
        for (int v = 0; v < V; v++) {
            vec change{};
            for (int n = 0; n < N; n++) change += in[n][k] * load(&grad[n][v * L]);
            learn_from(rule, row + v * L, change, squares);
        }
    }
    for (int v = 0; v < V; v++) {
        vec change{};
        for (int n = 0; n < N; n++) change += load(&grad[n][v * L]);
        learn_from(rule, w + ins * units + v * L, change, biases);
    }
    for (int n = 0; n < N; n++) {
        for (int k = 0; k < ins && (layer > 0 || !AVERAGE); k += L)
            store(&before[n][k], load(&before[n][k]) * slope(kind, load(&in[n][k])));
        for (int k = ins; k < padded(ins); k++) before[n][k] = 0;  // the unused lanes may hold anything
    }
}

static inline vec share(vec grad, vec most, vec a, vec b, vec c, vec d) {  // equal maxima share a gradient
    bits sharers = -((a == most) + (b == most) + (c == most) + (d == most));  // true is -1
    return grad / __builtin_convertvector(sharers, vec);
}

static void unpool2(int kind, const float map[W2 * W2][P2], const float* grad, float out[W2 * W2 + 1][P2],
                    vec bias[V2]) {
    for (int y = 0; y < S4; y++)
        for (int x = 0; x < S4; x++)
            for (int v = 0; v < V2; v++) {
                int at = 2 * y * W2 + 2 * x, places[] = {at, at + 1, at + W2, at + W2 + 1};
                float compact[L] = {};
                std::memcpy(compact, grad + (y * S4 + x) * C2 + v * L, 4 * std::min(L, C2 - v * L));
                vec arriving = load(compact), z[4];
                for (int p = 0; p < 4; p++) z[p] = load(&map[places[p]][v * L]);
                if (AVERAGE) {
                    for (int p = 0; p < 4; p++) {
                        vec part = 0.25f * arriving * slope(kind, z[p]);
                        bias[v] += part;
                        store(&out[places[p]][v * L], part);
                    }
                    continue;
                }
                vec most = larger(larger(z[0], z[1]), larger(z[2], z[3]));
                vec part = share(arriving, most, z[0], z[1], z[2], z[3]);
                bias[v] += arriving;
                for (int p = 0; p < 4; p++) store(&out[places[p]][v * L], z[p] == most ? part : vec{});
            }
}

constexpr int MOST = L == 8 ? 12 : 28;  // sums that stay in registers: AVX2 has 16 of them, the others 32
constexpr int PARTS = (T2 + MOST - 1) / MOST, TB = (T2 + PARTS - 1) / PARTS;

static void kernel2_gradient(const float in[S2][ROW2], const float grad[W2 * W2 + 1][P2], vec found[K2][T2][V2]) {
    for (int v = 0; v < V2; v++)
        for (int i = 0; i < K2; i++)
            for (int start = 0; start < T2; start += TB) {
                vec sums[TB] = {};
                for (int y = 0; y < W2; y++)
                    for (int x = 0; x < W2; x++) {
                        vec arriving = load(&grad[y * W2 + x][v * L]);
                        const float* entering = &in[y + i][x * C1 + start];
                        UNROLL(32)
                        for (int t = 0; t < TB; t++) sums[t] += arriving * entering[t];
                    }
                for (int t = 0; t < TB; t++)
                    if (start + t < T2) found[i][start + t][v] += sums[t];
            }
}

constexpr int TT = L == 16 ? TV : L == 4 && TV % 2 == 0 ? 2 : 1;  // vectors of a row at once

static void input2_gradient(const vec turned[K2][P2][TV], const float grad[W2 * W2 + 1][P2], float out[S2 + 1][ROW2]) {
    std::memset(out, 0, sizeof(float) * (S2 + 1) * ROW2);
    for (int y = 0; y < W2; y++)
        for (int x = 0; x < W2; x += 2)  // the place behind the last row is silent
            for (int start = 0; start < TV; start += TT) {
                vec sums[2][K2][TT] = {};
                const float *one = grad[y * W2 + x], *two = x + 1 < W2 ? grad[y * W2 + x + 1] : grad[W2 * W2];
                for (int o = 0; o < C2; o++) {
                    float left = one[o], right = two[o];
                    UNROLL(8)
                    for (int i = 0; i < K2; i++)
                        UNROLL(4)
                        for (int t = 0; t < TT; t++) {
                            sums[0][i][t] += left * turned[i][o][start + t];
                            sums[1][i][t] += right * turned[i][o][start + t];
                        }
                }
                for (int side = 0; side < 2; side++)
                    for (int i = 0; i < K2; i++)
                        for (int t = 0; t < TT; t++) {
                            float* at = &out[y + i][(x + side) * C1 + (start + t) * L];
                            store(at, load(at) + sums[side][i][t]);
                        }
            }
}

static void unpool1(int kind, const float map[C1][W1][ROW], const float grad[C1][S2][ROW / 2],
                    float out[C1][W1][ROW], vec bias[C1]) {
    for (int o = 0; o < C1; o++)
        for (int y = 0; y < S2; y++)
            for (int x = 0; x < ROW; x += 2 * L) {
                const float *top = map[o][2 * y] + x, *below = map[o][2 * y + 1] + x;
                vec a = even(load(top), load(top + L)), b = odd(load(top), load(top + L));
                vec c = even(load(below), load(below + L)), d = odd(load(below), load(below + L));
                vec arriving = load(grad[o][y] + x / 2), none{};
                if (AVERAGE) {
                    vec part = 0.25f * arriving;
                    a = part * slope(kind, a), b = part * slope(kind, b);
                    c = part * slope(kind, c), d = part * slope(kind, d);
                    bias[o] += a + b + c + d;
                } else {
                    vec most = larger(larger(a, b), larger(c, d)), part = share(arriving, most, a, b, c, d);
                    bias[o] += arriving;
                    a = a == most ? part : none, b = b == most ? part : none;
                    c = c == most ? part : none, d = d == most ? part : none;
                }
                store(out[o][2 * y] + x, first(a, b));
                store(out[o][2 * y] + x + L, last(a, b));
                store(out[o][2 * y + 1] + x, first(c, d));
                store(out[o][2 * y + 1] + x + L, last(c, d));
            }
}

constexpr int OB = L != 8 && C1 % 3 == 0 ? 3 : C1 % 2 == 0 ? 2 : 1;  // maps at once, to stay in registers

static void kernel1_gradient(const float in[IN][SIDE][ROW], const float grad[C1][W1][ROW], vec found[C1][IN][K1][K1]) {
    for (int o = 0; o < C1; o += OB)
        for (int c = 0; c < IN; c++)
            for (int i = 0; i < K1; i++) {
                vec sums[OB][K1] = {};
                for (int y = 0; y < W1; y++)
                    for (int x = 0; x < ROW; x += L) {
                        vec arriving[OB];
                        for (int b = 0; b < OB; b++) arriving[b] = load(&grad[o + b][y][x]);
                        UNROLL(8)
                        for (int j = 0; j < K1; j++) {
                            vec entering = load(&in[c][y + i][0] + x + j);
                            UNROLL(4)
                            for (int b = 0; b < OB; b++) sums[b][j] += arriving[b] * entering;
                        }
                    }
                for (int b = 0; b < OB; b++)
                    for (int j = 0; j < K1; j++) found[o + b][c][i][j] += sums[b][j];
            }
}

// -- a step --------------------------------------------------------------------------------------------------------

template <int layer = 0>
static void dense_layers(int kind, const float* w, Pictures& p) {
    if constexpr (layer < LAYERS) {
        dense<layer>(kind, w + at_dense(layer), p.act[layer], p.act[layer + 1]);
        dense_layers<layer + 1>(kind, w, p);
    }
}

template <int layer = LAYERS - 1>
static void dense_layers_back(int kind, const Rule& rule, float* w, Pictures& p, Squares squares[]) {
    if constexpr (layer >= 0) {
        const auto &entering = p.act[layer], &grad = p.grad[layer + 1];
        dense_back<layer>(kind, rule, w + at_dense(layer), entering, grad, p.grad[layer], squares[2 + layer]);
        dense_layers_back<layer - 1>(kind, rule, w, p, squares);
    }
}

static void forward(int kind, const float* w, Pictures& p, const uint8_t (*planes)[IN][SIDE][SIDE], int count) {
    for (int n = 0; n < count; n++) {
        const uint8_t* from = &planes[n][0][0][0];
        float* to = &p.in[n][0][0][0];
        for (int at = 0; at < IN * SIDE * SIDE; at++) to[at] = from[at] * (2.0f / 255.0f) - 1.0f;
        convolve1(kind, w, w + AT_B1, p.in[n], p.map1[n]);
        pool1(kind, p.map1[n], p.pool1[n]);
        convolve2(kind, w + AT_W2, w + AT_B2, p.pool1[n], p.map2[n]);
        pool2(kind, p.map2[n], p.act[0][n]);
    }
    for (int n = count; n < N; n++) std::memset(p.act[0][n], 0, sizeof p.act[0][n]);
    dense_layers(kind, w, p);
}

// Loss and hits of the batch are added; where asked for, the gradient of the logits is left in p.grad.
static void judge(bool mse, Pictures& p, const int64_t* labels, int count, bool backwards, double& loss, double& hits) {
    constexpr int classes = FCS[LAYERS];
    if (backwards) std::memset(p.grad[LAYERS], 0, sizeof p.grad[LAYERS]);
    for (int n = 0; n < count; n++) {
        const float* logits = p.act[LAYERS][n];
        float *grad = p.grad[LAYERS][n], most = *std::max_element(logits, logits + classes), total = 0, power[classes];
        for (int k = 0; k < classes; k++) total += power[k] = std::exp(logits[k] - most);
        float missed = 0;
        for (int k = 0; k < classes; k++) {
            float miss = logits[k] - (k == labels[n]);
            missed += miss * miss;
            if (backwards) grad[k] = (mse ? miss * 2 / classes : power[k] / total - (k == labels[n])) / count;
        }
        loss += mse ? missed / classes : std::log(total) + most - logits[labels[n]];
        hits += std::max_element(logits, logits + classes) - logits == labels[n];
    }
}

static void learn(int kind, const Rule& rule, float* w, Pictures& p, int count, Squares squares[]) {
    dense_layers_back(kind, rule, w, p, squares);
    std::memset(p.kernel1, 0, sizeof p.kernel1);
    std::memset(p.bias1, 0, sizeof p.bias1);
    std::memset(p.kernel2, 0, sizeof p.kernel2);
    std::memset(p.bias2, 0, sizeof p.bias2);
    std::memset(p.turned, 0, sizeof p.turned);
    for (int i = 0; i < K2; i++)
        for (int t = 0; t < T2; t++)
            for (int o = 0; o < C2; o++) ((float*)p.turned[i][o])[t] = w[AT_W2 + (i * T2 + t) * P2 + o];
    for (int n = 0; n < count; n++) {
        unpool2(kind, p.map2[n], p.grad[0][n], p.grad2, p.bias2);
        kernel2_gradient(p.pool1[n], p.grad2, p.kernel2);
        input2_gradient(p.turned, p.grad2, p.grad_pool1);
        for (int y = 0; y < S2; y++) {
            for (int at = 0; at < S2 * C1 && !AVERAGE; at += L)
                store(&p.grad_pool1[y][at], load(&p.grad_pool1[y][at]) * slope(kind, load(&p.pool1[n][y][at])));
            for (int x = 0; x < S2; x++)
                for (int o = 0; o < C1; o++) p.by_map[o][y][x] = p.grad_pool1[y][x * C1 + o];
        }
        unpool1(kind, p.map1[n], p.by_map, p.grad1, p.bias1);
        kernel1_gradient(p.in[n], p.grad1, p.kernel1);
    }
    float* found = (float*)p.layer1;
    for (int o = 0; o < C1; o++) {
        for (int c = 0; c < IN; c++)
            for (int i = 0; i < K1; i++)
                for (int j = 0; j < K1; j++) found[((o * K1 + i) * K1 + j) * IN + c] = sum(p.kernel1[o][c][i][j]);
        found[AT_B1 + o] = sum(p.bias1[o]);
    }
    Squares biases;
    learn_from(rule, w, p.layer1, AT_B1 / L, squares[0]);
    learn_from(rule, w + AT_B1, p.layer1 + AT_B1 / L, (AT_W2 - AT_B1) / L, biases);
    learn_from(rule, w + AT_W2, &p.kernel2[0][0][0], K2 * T2 * V2, squares[1]);
    learn_from(rule, w + AT_B2, p.bias2, V2, biases);
}

static Pictures& room() {
    thread_local std::unique_ptr<Pictures> pictures(new Pictures());
    return *pictures;
}

static std::vector<uint8_t> planes_of(const uint8_t* images, const int64_t* order, long pictures) {
    constexpr int plane = SIDE * SIDE;
    std::vector<uint8_t> planes(pictures * IN * plane);
    for (long n = 0; n < pictures; n++)
        for (int at = 0; at < plane; at++)
            for (int c = 0; c < IN; c++)
                planes[(n * IN + c) * plane + at] = images[(order ? order[n] : n) * IN * plane + at * IN + c];
    return planes;
}

extern "C" int floats() { return STRIDE; }

// Every network learns from images[order], batch by batch. totals[0..1]: loss · pictures, hits; then the norms of the
// gradients, layer by layer, and those of the changes, all added to what is there: (2 + 2 · layers, networks). rates:
// learning rate, momentum and weight decay, (3, networks). steps: how many each has made.
extern "C" void walk(float* weights, int networks, const int32_t* kinds, const uint8_t* mse, const float* rates,
                     const float* steps, const uint8_t* images, const int64_t* labels, const int64_t* order,
                     long pictures, float* totals) {
    std::vector<uint8_t> planes = planes_of(images, order, pictures);
    auto batches = (const uint8_t(*)[IN][SIDE][SIDE])planes.data();
    std::vector<int64_t> answers(pictures);
    for (long n = 0; n < pictures; n++) answers[n] = labels[order[n]];
    Pictures& p = room();
    constexpr int layers = LAYERS + 2;
    for (int k = 0; k < networks; k++) {
        double loss = 0, hits = 0, step = steps[k], norms[layers] = {}, changes[layers] = {};
        float* w = weights + k * STRIDE;
        for (long start = 0; start < pictures; start += BATCH) {
            int count = std::min<long>(BATCH, pictures - start);
            const Rule rule(rates + k, networks, ++step);
            Squares squares[layers];
            forward(kinds[k], w, p, batches + start, count);
            judge(mse[k], p, &answers[start], count, true, loss, hits);
            learn(kinds[k], rule, w, p, count, squares);
            for (int l = 0; l < layers; l++) {
                norms[l] += std::sqrt(sum(squares[l].gradient));
                changes[l] += rule.rate * std::sqrt(sum(squares[l].change));
            }
        }
        totals[k] += loss;
        totals[networks + k] += hits;
        for (int l = 0; l < layers; l++) {
            totals[(2 + l) * networks + k] += norms[l];
            totals[(2 + layers + l) * networks + k] += changes[l];
        }
    }
}

// Sums of the losses and the hits of every network on these pictures: (2, networks).
extern "C" void judge_all(const float* weights, int networks, const int32_t* kinds, const uint8_t* mse,
                          const uint8_t* images, const int64_t* labels, long pictures, double* totals) {
    std::vector<uint8_t> planes = planes_of(images, nullptr, pictures);
    auto batches = (const uint8_t(*)[IN][SIDE][SIDE])planes.data();
    for (int k = 0; k < networks; k++)
        for (long start = 0; start < pictures; start += BATCH) {
            int count = std::min<long>(BATCH, pictures - start);
            forward(kinds[k], weights + k * STRIDE, room(), batches + start, count);
            judge(mse[k], room(), labels + start, count, false, totals[k], totals[networks + k]);
        }
}
