// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/plan_runs.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <csignal>
#include <set>
#include <tuple>

#include "sys/fault.h"
#include "union/recovery.h"

namespace plyfs::test {
namespace {

constexpr std::size_t kBranches = 3;
// A scenario built anew.
struct Stage {
    explicit Stage(const Scenario& scenario) : scratch(kBranches) {
        scenario.build(scratch);
        before = scratch.tree();
        plan = scenario.plan(scratch);
    }

    ScratchBranches scratch;
    Tree before;
    Plan plan;
};

bool ends_as_expected(const Scenario& scenario, const Stage& stage) {
    ScratchMount mount(stage.scratch, kMountId);
    const auto done = mount.execute(stage.plan);
    return done ? scenario.error == 0 : done.error() == scenario.error;
}

void recover_and_check(const Scenario& scenario, const Stage& stage) {
    ScratchMount mount(stage.scratch);
    const RecoveryReport report = recover(mount.branches());
    CAPTURE(report.warnings);
    CHECK(report.warnings.empty());
    const Tree tree = stage.scratch.tree();
    if (tree != stage.before) CHECK(tree == scenario.after);
    CHECK(mount.tidy_up());
}

}  // namespace

Shape shape(const ScratchBranches& scratch) {
    Shape shape;
    constexpr std::size_t kLongestPlain = 11;  // ids and sequence numbers are longer
    for (const std::string& name : scratch.names()) {
        std::string masked;
        for (std::size_t at = 0; at < name.size();) {
            const std::size_t end =
                std::min(name.find_first_not_of("0123456789abcdef", at), name.size());
            const bool is_number = end - at > kLongestPlain;
            masked += is_number ? "#" : name.substr(at, std::max<std::size_t>(end - at, 1));
            at = std::max(end, at + 1);
        }
        // The counter of WorkDirectory::unique_name.
        const std::size_t counter = masked.find("/intent.");
        shape.insert(masked.substr(0, counter));
    }
    return shape;
}

bool killed_at(std::uint64_t call, const std::function<bool()>& work) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        fault::arm(fault::Action::Kill, call);
        const bool good = work();
        ::_exit(good ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return true;
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
    return false;
}

bool dead_at(std::uint64_t call, const std::function<void()>& work) {
    fault::arm(fault::Action::Dead, call, EIO);
    work();
    return fault::disarm() >= call;
}

std::unique_ptr<ScratchBranches> interrupted(const Scenario& scenario,
                                             const std::function<bool(const Tree&)>& reached) {
    for (std::uint64_t call = 1;; ++call) {
        auto scratch = std::make_unique<ScratchBranches>(kBranches);
        scenario.build(*scratch);
        const Plan plan = scenario.plan(*scratch);
        REQUIRE(dead_at(call, [&] {
            ScratchMount mount(*scratch, kMountId);
            std::ignore = mount.execute(plan);
        }));
        if (reached(scratch->tree())) return scratch;
    }
}

void run_unharmed(const Scenario& scenario) {
    const Stage stage(scenario);
    ScratchMount mount(stage.scratch);
    const auto done = mount.execute(stage.plan);
    CHECK((done ? 0 : done.error().code()) == scenario.error);
    CHECK(stage.scratch.tree() == scenario.after);
    CAPTURE(mount.warnings);
    CHECK(mount.warnings.empty());
    CHECK(mount.tidy_up());
}

void kill_everywhere(const Scenario& scenario) {
    bool killed = true;
    for (std::uint64_t call = 1; killed; ++call) {
        INFO("killed at call " << call);
        const Stage stage(scenario);
        killed = killed_at(call, [&] { return ends_as_expected(scenario, stage); });
        recover_and_check(scenario, stage);
    }
}

void kill_recovery_everywhere(const Scenario& scenario) {
    std::set<std::pair<Shape, Tree>> seen;
    const auto is_new = [&](const ScratchBranches& scratch) {
        return seen.emplace(shape(scratch), scratch.tree()).second;
    };
    bool killed = true;
    for (std::uint64_t call = 1; killed; ++call) {
        bool recovery_killed = true;
        for (std::uint64_t inner = 1; recovery_killed; ++inner) {
            INFO("killed at call " << call << ", recovery killed at call " << inner);
            const Stage stage(scenario);
            killed = dead_at(call, [&] { ends_as_expected(scenario, stage); });
            // Most calls change nothing on disk: one recovery for each state is enough.
            if (inner == 1 && !is_new(stage.scratch)) break;
            recovery_killed = [&] {
                const ScratchMount mount(stage.scratch);
                return dead_at(inner, [&] { recover(mount.branches()); });
            }();
            if (inner == 1 || is_new(stage.scratch)) recover_and_check(scenario, stage);
        }
    }
}

void fail_everywhere(const Scenario& scenario, int error) {
    bool failed = true;
    for (std::uint64_t call = 1; failed; ++call) {
        INFO("errno " << error << " at call " << call);
        const Stage stage(scenario);
        Tree left;
        {
            ScratchMount mount(stage.scratch);
            fault::arm(fault::Action::Error, call, error);
            const auto done = mount.execute(stage.plan);
            failed = fault::disarm() >= call;
            left = stage.scratch.tree();
            CHECK(left == (done ? scenario.after : stage.before));
            CAPTURE(mount.warnings);
            CHECK(mount.warnings.empty());
        }
        recover_and_check(scenario, stage);
        CHECK(stage.scratch.tree() == left);
    }
}

}  // namespace plyfs::test
