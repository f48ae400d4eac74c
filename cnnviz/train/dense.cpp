// A large fully connected layer and few pictures: forwards, and backwards with the update of the weights in the same
// visit. So few operations are made of each weight that fetching it is what takes the time. See dense.py for the
// constants UNITS and PICTURES.

#include <algorithm>
#include <memory>

#ifdef __ARM_NEON
#define LANES 4
#else
#define LANES 8  // wider vectors would not wait less for the memory
#endif
#include "vectors.h"

constexpr int WHOLE = UNITS / L, REST = UNITS % L, V = WHOLE + (REST > 0);  // vectors of a row
constexpr int AHEAD = 8;    // rows sent for before their turn
constexpr int ROWS = 4;     // forwards, at once
constexpr int BLOCK = 10;   // pictures whose sums stay in registers, backwards
constexpr int CHUNKS = 16;  // of the inputs: their sums are added up in this order, however many threads make them

static inline vec take(const float* row, int v) {
    vec value{};
    if (v < WHOLE) return load(row + v * L);
    std::memcpy(&value, row + v * L, 4 * REST);
    return value;
}

static inline void put(float* row, int v, vec value) {
    if (v < WHOLE)
        store(row + v * L, value);
    else
        std::memcpy(row + v * L, &value, 4 * REST);
}

static inline void send_for(const float* row, int rows) {
    for (int at = 0; at < rows * UNITS; at += 16) __builtin_prefetch(row + at, 1);
}

template <int rows>
static inline void forward(const float* row, const float* entering, vec (*sums)[PICTURES], long inputs) {
    float some[PICTURES][rows];  // side by side: pictures that lie a power of two apart share their places in the cache
    for (int n = 0; n < PICTURES; n++) std::memcpy(some[n], entering + n * inputs, sizeof some[n]);
    for (int v = 0; v < V; v++) {
        vec weights[rows];
        for (int r = 0; r < rows; r++) weights[r] = take(row + r * UNITS, v);
        for (int n = 0; n < PICTURES; n++) {
            vec sum = sums[v][n];
            UNROLL(16)
            for (int r = 0; r < rows; r++) sum += weights[r] * some[n][r];
            sums[v][n] = sum;
        }
    }
}

// weights (inputs, UNITS), bias (UNITS), entering (PICTURES, inputs): values (PICTURES, UNITS) = entering · weights + bias.
extern "C" void forward(const float* weights, const float* bias, const float* entering, float* values, long inputs) {
    const auto sums = std::make_unique<vec[][V][PICTURES]>(CHUNKS);
    const long length = (inputs / CHUNKS + ROWS) / ROWS * ROWS;
#pragma omp parallel for schedule(static)
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        long i = chunk * length;
        const long stop = std::min(inputs, i + length);
        for (; i + ROWS <= stop; i += ROWS) {
            send_for(weights + (i + AHEAD) * UNITS, ROWS);
            forward<ROWS>(weights + i * UNITS, entering + i, sums[chunk], inputs);
        }
        for (; i < stop; i++) forward<1>(weights + i * UNITS, entering + i, sums[chunk], inputs);
    }
    for (int n = 0; n < PICTURES; n++)
        for (int v = 0; v < V; v++) {
            vec value = take(bias, v);
            for (int chunk = 0; chunk < CHUNKS; chunk++) value += sums[chunk][v][n];
            put(values + n * UNITS, v, value);
        }
}

template <int count>
static inline void back(const float* row, const vec (*grads)[V], float* before, long inputs) {
    vec sums[count] = {};
    UNROLL(16)
    for (int v = 0; v < V; v++) {
        vec weights = take(row, v);
        UNROLL(16)
        for (int n = 0; n < count; n++) sums[n] += grads[n][v] * weights;
    }
    UNROLL(16)
    for (int n = 0; n < count; n++) before[n * inputs] = sum(sums[n]);
}

template <int count>
static inline void add_gradient(vec gradient[V], const vec (*grads)[V], const float* entering, long inputs) {
    vec from[count];
    UNROLL(16)
    for (int n = 0; n < count; n++) from[n] = vec{} + entering[n * inputs];
    UNROLL(16)
    for (int v = 0; v < V; v++) {
        UNROLL(16)
        for (int n = 0; n < count; n++) gradient[v] += grads[n][v] * from[n];
    }
}

// A row's part in the gradient of what enters, and its own gradient, some pictures at a time.
template <int n = 0>
static inline void visit(const float* row, const vec (*grads)[V], const float* entering, float* before,
                         vec gradient[V], long inputs) {
    constexpr int count = std::min(BLOCK, PICTURES - n);
    back<count>(row, grads + n, before + n * inputs, inputs);
    add_gradient<count>(gradient, grads + n, entering + n * inputs, inputs);
    if constexpr (n + count < PICTURES) visit<n + count>(row, grads, entering, before, gradient, inputs);
}

// grad (PICTURES, UNITS), before (PICTURES, inputs) = grad · weightsᵀ, then weights -= rate · enteringᵀ · grad. Returns
// the L2 norm of that product.
extern "C" float back_and_learn(float* weights, const float* entering, const float* grad, float* before, long inputs,
                                float rate) {
    const auto grads = std::make_unique<vec[][V]>(PICTURES);
    for (int n = 0; n < PICTURES; n++)
        for (int v = 0; v < V; v++) grads[n][v] = take(grad + n * UNITS, v);
    double squares[CHUNKS];
#pragma omp parallel for schedule(static)
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        vec some{};
        for (long i = inputs * chunk / CHUNKS; i < inputs * (chunk + 1) / CHUNKS; i++) {
            float* row = weights + i * UNITS;
            send_for(row + AHEAD * UNITS, 1);
            vec gradient[V] = {};
            visit(row, grads.get(), entering + i, before + i, gradient, inputs);
            for (int v = 0; v < V; v++) {
                some += gradient[v] * gradient[v];
                put(row, v, take(row, v) - rate * gradient[v]);
            }
        }
        squares[chunk] = sum(some);
    }
    double all = 0;
    for (double each : squares) all += each;
    return __builtin_sqrt(all);
}
