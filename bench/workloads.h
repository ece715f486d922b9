// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is timed. A workload prepares a directory, then runs: only run() is timed.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

namespace plyfs::bench {

struct Workload {
    const char* name;
    const char* unit;  // of what `operations` counts: "us" an operation, or "MiB/s"
    std::size_t operations;
    std::function<void(const std::string& directory)> prepare;
    std::function<void(const std::string& directory)> run;
};

std::span<const Workload> workloads();

// Of layers: what is prepared lies on a read-only branch, and run() copies it up.
std::span<const Workload> copy_ups();

}  // namespace plyfs::bench
