// SPDX-License-Identifier: GPL-2.0-or-later
//
// A hook before every system call that a verb of the union makes, so that tests can stop the
// process or fail the call at each of them in turn. Unarmed (always, outside of tests) it costs
// one relaxed load.
#pragma once

#include <atomic>
#include <cstdint>

namespace plyfs::fault {

enum class Action : std::uint8_t {
    None,
    Error,  // the call is not made and fails with the given errno
    Kill,   // the process ends as by kill -9, before the call
    Dead,   // neither this call nor any after it is made, all fail: on disk as after Kill, but
            // the test goes on in this process, which is much faster than a child for each call
};

// Arms the hook for the whole process: the `nth` call from now on (1 is the next) meets `action`;
// all others go through. `error` is used by Action::Error. Thread-safe, but meant for one thread.
void arm(Action action, std::uint64_t nth, int error = 0);

// Disarms it. Returns how many calls were made since it was armed.
std::uint64_t disarm();

extern std::atomic<bool> armed;

// 0: make the call. Otherwise the errno to fail with.
int check_armed() noexcept;

inline int check() noexcept {
    return armed.load(std::memory_order_relaxed) ? check_armed() : 0;
}

}  // namespace plyfs::fault
