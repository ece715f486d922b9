// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is timed. A workload prepares a directory, then runs, then checks what it did: only run()
// is timed.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

namespace plyfs::bench {

struct Sizes {
    std::size_t files = 2000;  // of 4 KiB, that a workload makes or finds
    std::size_t loops = 5000;
    std::size_t new_mebibytes = 128;
    std::size_t copied_mebibytes = 1024;
    std::size_t one = 1;
};

// A directory that a workload works in, and how much it does there.
struct Place {
    std::string directory;
    Sizes sizes;
};

enum class Where {
    Fresh,  // an empty directory, removed afterwards
    Set,    // one that holds `files` files f0, f1, ... of 4 KiB and is left as it is
};

enum class Caches {
    Any,
    ColdThenWarm,  // run() is timed twice: after the caches were dropped, and once more
    Warm,          // run() has run once before
};

struct Workload {
    const char* name;
    const char* unit;  // of what `operations` counts: "us" an operation, or "MiB/s"
    std::size_t Sizes::* operations;
    std::function<void(const Place& place)> prepare;
    std::function<void(const Place& place)> run;
    std::function<void(const Place& place)> check;
    Where where = Where::Fresh;
    Caches caches = Caches::Any;
};

std::span<const Workload> workloads();

// Of layers: what is prepared lies on a read-only branch, and run() copies it up.
std::span<const Workload> copy_ups();

}  // namespace plyfs::bench
