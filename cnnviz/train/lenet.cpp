// Training steps of LeNet's family, one network at a time: two convolutions, each with 2x2 pooling, then fully
// connected layers; gradient descent, plain or with momentum, or Adam. A network and its batch stay in a core's
// second-level cache, which no library call by call can give. See lenet.py for the constants (LANES, C1, K1, C2, K2, FC,
// BATCH, AVERAGE, SLOTS, DECAYS) and the memory's layout.

#include <algorithm>  // <cmath> and <memory> would take a tenth of the compiler's time
#include <cstdint>
#include <cstring>
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
constexpr int ROW3 = SIDE * IN, T1 = K1 * IN, V1 = padded(T1) / L;  // rows of pictures and first kernels
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

template <int most>
struct Arriving {  // gradients of a convolution's values: behind pooling most of them are zero, and not among them
    float grad[most];
    int at[most], many;
    void add(float value, int where) {
        grad[many] = value, at[many] = where;
        many += value != 0;
    }
};

struct Pictures {  // of one batch, and what the layers make of them
    float in[IN][SIDE][ROW], slack[32];
    float map1[N][C1][W1][ROW];
    float pool1[N][S2][ROW2];
    float map2[N][W2 * W2][P2];
    float act[LAYERS + 1][N][WIDEST], grad[LAYERS + 1][N][WIDEST];
    float grad_pool1[S2][ROW2], by_map[C1][S2][ROW / 2], rows[SIDE * ROW3 + V1 * L];
    Arriving<4 * S2 * S2 + L> arriving1;            // at one map, from where in the picture
    Arriving<4 * S4 * S4 + 1> arriving2[C2];        // at each second map, from where in the first ones
    Arriving<C2 + 1> by_place[W2 * W2];             // the same, from which map
    vec kernel1[C1][K1][V1], bias1[C1], layer1[AT_W2 / L];
    vec kernel2[C2][K2][TV], bias2[V2], layer2[K2][T2][V2], turned[C2][K2][TV];
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
        root = __builtin_sqrt(1 - __builtin_pow(0.999, step));
        if (SLOTS == ADAM) rate /= 1 - __builtin_pow(0.9, step);
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
    constexpr int TOGETHER = L == 4 ? 2 : 1;  // pictures, whose sums stay in registers
    Squares biases;
    for (int start = 0; start < ins; start += L) {
        const float* rows[L];
        for (int r = 0; r < L; r++) rows[r] = w + std::min(start + r, ins - 1) * units;
        for (int n = 0; n < N; n += TOGETHER) {
            vec sums[TOGETHER][L] = {};
            for (int v = 0; v < V; v++)
                UNROLL(16)
                for (int r = 0; r < L; r++) {
                    vec weight = load(rows[r] + v * L);
                    for (int t = 0; t < TOGETHER; t++) sums[t][r] += weight * load(&grad[n + t][v * L]);
                }
            for (int t = 0; t < TOGETHER; t++) store(&before[n + t][start], folded(sums[t]));
        }
        for (int k = start; k < std::min(start + L, ins); k++)
            for (int v = 0; v < V; v++) {
                vec change{};
                for (int n = 0; n < N; n++) change += in[n][k] * load(&grad[n][v * L]);
                learn_from(rule, w + k * units + v * L, change, squares);
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

// What the gradient of a pooled value comes to in its four places: above left, above right, below left, below right. Of
// a mean all get some; of a maximum the first of those that are as large, and the others as much.
struct Unpooled {
    vec part[4];
    bits place{}, sharers{}, is[4];

    Unpooled(int kind, const vec z[4], vec arriving) {
        if (AVERAGE) {
            for (int p = 0; p < 4; p++) part[p] = 0.25f * arriving * slope(kind, z[p]);
            return;
        }
        vec most = larger(larger(z[0], z[1]), larger(z[2], z[3]));
        for (int p = 3; p >= 0; p--) {
            is[p] = z[p] == most;
            sharers -= is[p];  // true is -1
            place = is[p] ? bits{} + p : place;
        }
        part[0] = arriving / __builtin_convertvector(sharers, vec);
    }

    template <typename Add>
    void others(int lane, Add add) const {  // calls add(gradient, place)
        for (int p = place[lane] + 1; p < 4; p++)
            if (is[p][lane]) add(part[0][lane], p);
    }
};

static void unpool2(int kind, const float map[W2 * W2][P2], const float* grad, Pictures& p) {
    constexpr int places[] = {0, 1, W2, W2 + 1}, entering[] = {0, C1, ROW2, ROW2 + C1};
    for (auto& each : p.arriving2) each.many = 0;
    for (auto& each : p.by_place) each.many = 0;
    for (int y = 0; y < S4; y++)
        for (int x = 0; x < S4; x++)
            for (int v = 0; v < V2; v++) {
                int first = 2 * y * W2 + 2 * x, from = 2 * y * ROW2 + 2 * x * C1, channels = std::min(L, C2 - v * L);
                float compact[L] = {};
                std::memcpy(compact, grad + (y * S4 + x) * C2 + v * L, 4 * channels);
                vec arriving = load(compact), z[4];
                for (int place = 0; place < 4; place++) z[place] = load(&map[first + places[place]][v * L]);
                const Unpooled found(kind, z, arriving);
                for (int part = 0; part < (AVERAGE ? 4 : 1); part++) {
                    p.bias2[v] += AVERAGE ? found.part[part] : arriving;
                    for (int i = 0; i < channels; i++) {
                        auto add = [&](float value, int place) {
                            p.arriving2[v * L + i].add(value, from + entering[place]);
                            p.by_place[first + places[place]].add(value, v * L + i);
                        };
                        add(found.part[part][i], AVERAGE ? part : found.place[i]);
                        if (!AVERAGE && found.sharers[i] > 1) found.others(i, add);
                    }
                }
            }
}

// Of one map.
static void unpool1(int kind, const float map[W1][ROW], const float grad[S2][ROW / 2],
                    decltype(Pictures::arriving1)& to, vec& bias) {
    constexpr int entering[] = {0, IN, ROW3, ROW3 + IN};
    bits lanes;
    for (int i = 0; i < L; i++) lanes[i] = 2 * i * IN;
    to.many = 0;
    for (int y = 0; y < S2; y++)
        for (int x = 0; x < S2; x += L) {
            const float *top = map[2 * y] + 2 * x, *below = map[2 * y + 1] + 2 * x;
            vec a = load(top), b = load(top + L), c = load(below), d = load(below + L), arriving = load(grad[y] + x);
            const vec z[] = {even(a, b), odd(a, b), even(c, d), odd(c, d)};
            const Unpooled found(kind, z, arriving);
            int first = 2 * y * ROW3 + 2 * x * IN, cells = std::min(L, S2 - x);
            for (int part = 0; part < (AVERAGE ? 4 : 1); part++, to.many += cells) {
                bits at = lanes + first;
                at += AVERAGE ? bits{} + entering[part] : (found.place & 1) * IN + (found.place >> 1) * ROW3;
                bias += AVERAGE ? found.part[part] : arriving;
                store(to.grad + to.many, found.part[part]);
                std::memcpy(to.at + to.many, &at, sizeof at);
            }
            for (int i = 0; i < cells && !AVERAGE; i++) {
                auto add = [&](float value, int place) { to.add(value, first + 2 * i * IN + entering[place]); };
                if (found.sharers[i] > 1) found.others(i, add);
            }
        }
}

constexpr int MOST = L == 8 ? 12 : 28;  // sums that stay in registers: AVX2 has 16 of them, the others 32

// A kernel's gradient, from the values of its map whose gradient is not zero. V vectors hold one of its K rows, and
// STEP floats lie between two rows of what enters.
template <int K, int V, int STEP, int most>
static void kernel_gradient(const float* entering, const Arriving<most>& some, vec found[K][V]) {
    constexpr int rows = std::max(1, std::min(K, MOST / V));
    for (int start = 0; start < K; start += rows) {
        vec sums[rows][V] = {};
        for (int each = 0; each < some.many; each++) {
            const float* at = entering + some.at[each] + start * STEP;
            UNROLL(8)
            for (int i = 0; i < rows; i++)
                UNROLL(32)
                for (int v = 0; v < V; v++)
                    if (start + i < K) sums[i][v] += some.grad[each] * load(at + i * STEP + v * L);
        }
        for (int i = 0; i < std::min(rows, K - start); i++)
            for (int v = 0; v < V; v++) found[start + i][v] += sums[i][v];
    }
}

static void input2_gradient(const vec turned[C2][K2][TV], const decltype(Pictures::by_place)& by_place,
                            float out[S2][ROW2]) {
    constexpr int rows = std::max(1, std::min(K2, MOST / TV));
    std::memset(out, 0, sizeof(float) * S2 * ROW2);
    for (int x = 0; x < W2; x++)
        for (int y = 0; y < W2; y++)  // down the columns: what was stored last is loaded as it was stored
            for (int start = 0; start < K2; start += rows) {
                const auto& some = by_place[y * W2 + x];
                vec sums[rows][TV] = {};
                for (int each = 0; each < some.many; each++)
                    UNROLL(8)
                    for (int i = 0; i < rows; i++)
                        UNROLL(32)
                        for (int t = 0; t < TV; t++)
                            if (start + i < K2) sums[i][t] += some.grad[each] * turned[some.at[each]][start + i][t];
                for (int i = 0; i < std::min(rows, K2 - start); i++)
                    for (int t = 0; t < TV; t++) {
                        float* at = &out[y + start + i][x * C1 + t * L];
                        store(at, load(at) + sums[i][t]);
                    }
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

// A picture's pixels as a network is shown them.
static void seen(const uint8_t* from, float* to) {
    for (int at = 0; at < IN * SIDE * SIDE; at++) to[at] = from[at] * (2.0f / 255.0f) - 1.0f;
}

static void forward(int kind, const float* w, Pictures& p, const uint8_t (*planes)[IN][SIDE][SIDE], int count) {
    for (int n = 0; n < count; n++) {
        seen(&planes[n][0][0][0], &p.in[0][0][0]);
        convolve1(kind, w, w + AT_B1, p.in, p.map1[n]);
        pool1(kind, p.map1[n], p.pool1[n]);
        convolve2(kind, w + AT_W2, w + AT_B2, p.pool1[n], p.map2[n]);
        pool2(kind, p.map2[n], p.act[0][n]);
    }
    for (int n = count; n < N; n++) std::memset(p.act[0][n], 0, sizeof p.act[0][n]);
    dense_layers(kind, w, p);
}

// judge and learn stay out of walk: with them it is so large that GCC takes half as long again over it, and makes it
// slower. Loss and hits of the batch are added; where asked for, the gradient of the logits is left in p.grad.
[[gnu::noinline]] static void judge(bool mse, Pictures& p, const int64_t* labels, int count, bool backwards,
                                    double& loss, double& hits) {
    constexpr int classes = FCS[LAYERS];
    if (backwards) std::memset(p.grad[LAYERS], 0, sizeof p.grad[LAYERS]);
    for (int n = 0; n < count; n++) {
        const float* logits = p.act[LAYERS][n];
        float *grad = p.grad[LAYERS][n], most = *std::max_element(logits, logits + classes), total = 0, power[classes];
        for (int k = 0; k < classes; k++) total += power[k] = __builtin_expf(logits[k] - most);
        float missed = 0;
        for (int k = 0; k < classes; k++) {
            float miss = logits[k] - (k == labels[n]);
            missed += miss * miss;
            if (backwards) grad[k] = (mse ? miss * 2 / classes : power[k] / total - (k == labels[n])) / count;
        }
        loss += mse ? missed / classes : __builtin_logf(total) + most - logits[labels[n]];
        hits += std::max_element(logits, logits + classes) - logits == labels[n];
    }
}

[[gnu::noinline]] static void learn(int kind, const Rule& rule, float* w, Pictures& p, const uint8_t* images,
                                    const int64_t* order, int count, Squares squares[]) {
    dense_layers_back(kind, rule, w, p, squares);
    std::memset(p.kernel1, 0, sizeof p.kernel1);
    std::memset(p.bias1, 0, sizeof p.bias1);
    std::memset(p.kernel2, 0, sizeof p.kernel2);
    std::memset(p.bias2, 0, sizeof p.bias2);
    std::memset(p.turned, 0, sizeof p.turned);
    for (int i = 0; i < K2; i++)
        for (int t = 0; t < T2; t++)
            for (int o = 0; o < C2; o++) ((float*)p.turned[o][i])[t] = w[AT_W2 + (i * T2 + t) * P2 + o];
    for (int n = 0; n < count; n++) {
        unpool2(kind, p.map2[n], p.grad[0][n], p);
        for (int o = 0; o < C2; o++) kernel_gradient<K2, TV, ROW2>(&p.pool1[n][0][0], p.arriving2[o], p.kernel2[o]);
        input2_gradient(p.turned, p.by_place, p.grad_pool1);
        for (int y = 0; y < S2; y++) {
            for (int at = 0; at < S2 * C1 && !AVERAGE; at += L)
                store(&p.grad_pool1[y][at], load(&p.grad_pool1[y][at]) * slope(kind, load(&p.pool1[n][y][at])));
            for (int x = 0; x < S2; x++)
                ROLLED  // or GCC makes hundreds of instructions of it, no faster, and takes a second over them
                for (int o = 0; o < C1; o++) p.by_map[o][y][x] = p.grad_pool1[y][x * C1 + o];
        }
        seen(images + order[n] * SIDE * ROW3, p.rows);
        for (int o = 0; o < C1; o++) {
            unpool1(kind, p.map1[n][o], p.by_map[o], p.arriving1, p.bias1[o]);
            kernel_gradient<K1, V1, ROW3>(p.rows, p.arriving1, p.kernel1[o]);
        }
    }
    float* found = (float*)p.layer1;
    for (int o = 0; o < C1; o++) {
        for (int i = 0; i < K1; i++) std::memcpy(found + (o * K1 + i) * T1, p.kernel1[o][i], sizeof(float) * T1);
        found[AT_B1 + o] = sum(p.bias1[o]);
    }
    for (int i = 0; i < K2; i++)
        for (int t = 0; t < T2; t++)
            for (int o = 0; o < C2; o++) ((float*)p.layer2[i][t])[o] = ((float*)p.kernel2[o][i])[t];
    Squares biases;
    learn_from(rule, w, p.layer1, AT_B1 / L, squares[0]);
    learn_from(rule, w + AT_B1, p.layer1 + AT_B1 / L, (AT_W2 - AT_B1) / L, biases);
    learn_from(rule, w + AT_W2, &p.layer2[0][0][0], K2 * T2 * V2, squares[1]);
    learn_from(rule, w + AT_B2, p.bias2, V2, biases);
}

static Pictures& room() {
    thread_local std::vector<Pictures> pictures(1);
    return pictures[0];
}

static std::vector<uint8_t> planes_of(const uint8_t* images, const int64_t* order, long pictures) {
    constexpr int plane = SIDE * SIDE;
    std::vector<uint8_t> planes(pictures * IN * plane);
    for (long n = 0; n < pictures; n++) {
        const uint8_t* from = images + (order ? order[n] : n) * IN * plane;
        uint8_t* to = planes.data() + n * IN * plane;
        for (int at = 0; at < plane; at++)
            for (int c = 0; c < IN; c++) to[c * plane + at] = from[at * IN + c];
    }
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
            learn(kinds[k], rule, w, p, images, order + start, count, squares);
            for (int l = 0; l < layers; l++) {
                norms[l] += __builtin_sqrtf(sum(squares[l].gradient));
                changes[l] += rule.rate * __builtin_sqrtf(sum(squares[l].change));
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
