// SPDX-License-Identifier: GPL-2.0-or-later
//
// The figures of all rounds and the table made of them.
#pragma once

#include <string>
#include <vector>

#include "workloads.h"

namespace plyfs::bench {

// Seconds, one for each round.
using Times = std::vector<double>;

double median(Times times);

// One line: the first target's figure, then each other one's with its ratio to the first (above
// 1: slower).
std::string line(const Workload& workload, const std::vector<Times>& of_targets);
std::string heading(const std::vector<std::string>& targets);

}  // namespace plyfs::bench
