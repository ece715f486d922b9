// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where policies that pick at random get their numbers from: an interface, so that tests repeat.
#pragma once

#include <cstdint>
#include <limits>

namespace plyfs {

// A std::uniform_random_bit_generator: usable with the distributions and std::shuffle. Not
// thread-safe unless the implementation says so.
class RandomSource {
public:
    using result_type = std::uint64_t;
    static constexpr result_type min() { return 0; }
    static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }

    virtual ~RandomSource() = default;

    // Uniform over all 64-bit values.
    virtual result_type operator()() = 0;
};

// The calling thread's own source, seeded from the system when the thread first asks. Valid until
// the thread ends; not for secrets.
RandomSource& thread_random_source();

}  // namespace plyfs
