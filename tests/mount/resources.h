// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a daemon holds: descriptors and memory.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>

namespace plyfs::test {

std::size_t descriptors_of(pid_t process);
// Resident anonymous memory in KiB.
long memory_of(pid_t process);
// The kernel forgets nodes that are not in use; the daemon is told after this returned.
void drop_caches();

// Whether something comes true that is not told of: files are released, and nodes forgotten, after
// close(2) has returned; names are looked up again after a notification.
template <typename Condition>
bool eventually(Condition&& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
    }
    return true;
}

}  // namespace plyfs::test
