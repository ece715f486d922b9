// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/random_source.h"

#include <random>

namespace plyfs {
namespace {

class EngineSource final : public RandomSource {
public:
    EngineSource() {
        std::random_device device;
        std::seed_seq seed{device(), device(), device(), device()};
        engine_.seed(seed);
    }
    result_type operator()() override { return engine_(); }

private:
    std::mt19937_64 engine_;
};

}  // namespace

RandomSource& thread_random_source() {
    static thread_local EngineSource source;
    return source;
}

}  // namespace plyfs
