// Vectors of LANES floats, 8 or 16, as GCC and Clang know them on every processor.

#include <cstring>

constexpr int L = LANES;
typedef float vec __attribute__((vector_size(4 * L)));
typedef float loose __attribute__((vector_size(4 * L), aligned(4)));  // anywhere in memory

static inline vec load(const float* at) { return *(const loose*)at; }
static inline void store(float* at, vec value) { *(loose*)at = value; }

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
