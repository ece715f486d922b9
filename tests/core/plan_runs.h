// SPDX-License-Identifier: GPL-2.0-or-later
//
// Running a plan so that it is cut short at each of its system calls in turn.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "core/scratch_branches.h"

namespace plyfs::test {

// The mount whose plans are killed.
inline constexpr char kMountId[] = "0123456789abcdef0123456789abcdef";

// What a verb does to three branches.
struct Scenario {
    std::function<void(ScratchBranches&)> build;
    std::function<Plan(ScratchBranches&)> plan;
    Tree after;     // the tree when the plan has been executed
    int error = 0;  // what execute() returns when nothing is wrong
};

// Ends `work` in a child process as by kill -9 before its `call`-th system call. False: it ended
// by itself before. A failed `work` ends the test.
bool killed_at(std::uint64_t call, const std::function<bool()>& work);

// The same without a child process: from the call on every one fails, so that what is on disk is as
// after a kill. False: `work` made fewer calls.
bool dead_at(std::uint64_t call, const std::function<void()>& work);

// What can be told apart of the state of the branches: all names, without what differs from run to
// run.
using Shape = std::set<std::string>;
Shape shape(const ScratchBranches& scratch);

// Branches on which the scenario's plan was killed at the first call after which the tree is as
// `reached` wants it.
std::unique_ptr<ScratchBranches> interrupted(const Scenario& scenario,
                                             const std::function<bool(const Tree&)>& reached);

// Without fault: execute() returns `error` and leaves `after`.
void run_unharmed(const Scenario& scenario);

// Killed at every call, then recovered: the tree is as before or as after, and the branches are
// clean again. In child processes, with SIGKILL.
void kill_everywhere(const Scenario& scenario);

// The same with dead_at(), and where the state on disk is a new one recovery ends at each of its
// calls too and is run again.
void kill_recovery_everywhere(const Scenario& scenario);

// Every call fails in turn: after an error the tree is as before, otherwise as after; recovery
// changes nothing more.
void fail_everywhere(const Scenario& scenario, int error);

}  // namespace plyfs::test
