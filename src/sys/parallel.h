// SPDX-License-Identifier: GPL-2.0-or-later
//
// Work of several threads of TBB, handed over and back in a way that ThreadSanitizer sees: the
// library is not built with it, so that every access to what was handed over would look like a
// race. Those can be suppressed, but looking each of them up makes the sanitizer five times as
// slow.
#pragma once

#include <tbb/parallel_for_each.h>

#include <atomic>

namespace plyfs::sys {

// Calls `work` with each element of `elements`, on several threads, the caller's among them, and
// returns when all is done. What an element refers to is its call's alone meanwhile. `work` must
// not throw; no lock may be held that it takes.
void for_each_in_parallel(auto& elements, const auto& work) {
    std::atomic<int> handed_over = 0;
    handed_over.fetch_add(1, std::memory_order_release);
    tbb::parallel_for_each(elements, [&](auto& element) {
        handed_over.fetch_add(1, std::memory_order_acq_rel);
        work(element);
        handed_over.fetch_add(1, std::memory_order_acq_rel);
    });
    handed_over.load(std::memory_order_acquire);
}

}  // namespace plyfs::sys
