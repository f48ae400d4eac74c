// Vectors of LANES floats, 4 (NEON), 8 (AVX2) or 16 (AVX-512), as GCC and Clang know them on every processor.

#include <cstdint>
#include <cstring>

constexpr int L = LANES;
typedef float vec __attribute__((vector_size(4 * L)));
typedef float loose __attribute__((vector_size(4 * L), aligned(4)));  // anywhere in memory
typedef int32_t bits __attribute__((vector_size(4 * L)));

#define WRITTEN(words) _Pragma(#words)
#ifdef __clang__
#define UNROLL(times) WRITTEN(clang loop unroll(full))
#define ROLLED WRITTEN(clang loop unroll(disable))
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define UNROLL(times) WRITTEN(GCC unroll times)
#define ROLLED WRITTEN(GCC unroll 1)
#define PICK(a, b, ...) __builtin_shuffle(a, b, bits{__VA_ARGS__})
#endif

static inline vec load(const float* at) { return *(const loose*)at; }
static inline void store(float* at, vec value) { *(loose*)at = value; }

static inline vec root(vec x) {
    for (int lane = 0; lane < L; lane++) x[lane] = __builtin_sqrtf(x[lane]);
    return x;
}

// Of two vectors' floats those at even places, those at odd ones; and in turn, the first half and the last.
#if LANES == 16
static inline vec even(vec a, vec b) { return PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30); }
static inline vec odd(vec a, vec b) { return PICK(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31); }
static inline vec first(vec a, vec b) { return PICK(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23); }
static inline vec last(vec a, vec b) {
    return PICK(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#elif LANES == 8
static inline vec even(vec a, vec b) { return PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14); }
static inline vec odd(vec a, vec b) { return PICK(a, b, 1, 3, 5, 7, 9, 11, 13, 15); }
static inline vec first(vec a, vec b) { return PICK(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
static inline vec last(vec a, vec b) { return PICK(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
#else
static inline vec even(vec a, vec b) { return PICK(a, b, 0, 2, 4, 6); }
static inline vec odd(vec a, vec b) { return PICK(a, b, 1, 3, 5, 7); }
static inline vec first(vec a, vec b) { return PICK(a, b, 0, 4, 1, 5); }
static inline vec last(vec a, vec b) { return PICK(a, b, 2, 6, 3, 7); }
#endif

template <int lanes = L>
static inline float sum(const float* values) {
    if constexpr (lanes > 1) {
        typedef float half __attribute__((vector_size(2 * lanes)));
        half low, high;
        std::memcpy(&low, values, sizeof low);
        std::memcpy(&high, values + lanes / 2, sizeof high);
        low += high;
        return sum<lanes / 2>((const float*)&low);
    }
    return *values;
}

static inline float sum(vec value) { return sum((const float*)&value); }

// The sums of as many vectors, in their order.
template <int many = L>
static inline vec folded(const vec* values) {
    if constexpr (many > 1) {
        vec halves[many / 2];
        for (int i = 0; i < many / 2; i++)
            halves[i] = even(values[2 * i], values[2 * i + 1]) + odd(values[2 * i], values[2 * i + 1]);
        return folded<many / 2>(halves);
    }
    return *values;
}
