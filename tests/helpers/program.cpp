// A kernel as a program: what a call is given comes in by files, and goes out by them when the call has returned.
// Usage: program FOLDER FUNCTION NUMBER..., where FOLDER/0, FOLDER/1, ... are the call's arrays in their order.

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#ifdef UNITS
#include "../../cnnviz/train/dense.cpp"
#else
#include "../../cnnviz/train/lenet.cpp"
#endif

#include <vector>

int main(int, char** words) {
    const std::string folder = std::string(words[1]) + "/", function = words[2];
    std::vector<std::vector<char>> arrays;
    for (;;) {
        std::ifstream file(folder + std::to_string(arrays.size()), std::ios::binary | std::ios::ate);
        if (!file) break;
        arrays.emplace_back(file.tellg());  // no larger, so that a sanitizer sees whoever goes beyond the end
        file.seekg(0).read(arrays.back().data(), arrays.back().size());
    }
    auto floats_at = [&](int index) { return (float*)arrays[index].data(); };
    auto number = [&](int index) { return std::atol(words[3 + index]); };
#ifdef UNITS
    if (function == "forward") forward(floats_at(0), floats_at(1), floats_at(2), floats_at(3), number(0));
    if (function == "back_and_learn") {
        float* norm = floats_at(4);
        *norm = back_and_learn(floats_at(0), floats_at(1), floats_at(2), floats_at(3), number(0), floats_at(5)[0]);
    }
#else
    auto whole_at = [&](int index) { return (const int64_t*)arrays[index].data(); };
    auto bytes_at = [&](int index) { return (const uint8_t*)arrays[index].data(); };
    auto kinds = [&] { return (const int32_t*)arrays[1].data(); };
    if (function == "floats") std::printf("%d", floats());
    if (function == "walk")
        walk(floats_at(0), number(0), kinds(), bytes_at(2), floats_at(3), floats_at(4), bytes_at(5), whole_at(6),
             whole_at(7), number(1), floats_at(8));
    if (function == "judge_all")
        judge_all(floats_at(0), number(0), kinds(), bytes_at(2), bytes_at(3), whole_at(4), number(1),
                  (double*)arrays[5].data());
#endif
    for (size_t index = 0; index < arrays.size(); index++)
        std::ofstream(folder + std::to_string(index), std::ios::binary).write(arrays[index].data(), arrays[index].size());
}
