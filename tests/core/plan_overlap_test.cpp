// SPDX-License-Identifier: GPL-2.0-or-later
//
// Plans in flight at the same time, all killed.
#include <catch2/catch_test_macros.hpp>

#include "core/plan_runs.h"
#include "union/recovery.h"

namespace plyfs::test {
namespace {

// Renames a directory on two branches while a file in it, with a copy on each, is unlinked by its
// old path.
struct Overlap {
    Overlap() : scratch(2) {
        for (const char* const branch : {"0", "1"}) {
            const std::string top = branch + std::string("/top");
            scratch.make_directory(top);
            scratch.make_directory(top + "/old");
            scratch.make_file(top + "/old/f");
            scratch.make_file(top + "/old/g");
        }
        rename = {scratch.move("0/top/old", "0/new"), scratch.move("1/top/old", "1/new")};
        unlink = {scratch.bury("0/top/old/f"), scratch.bury("1/top/old/f")};
    }

    bool run(const Plan& plan) const {
        ScratchMount mount(scratch, kMountId);
        return mount.execute(plan).has_value();
    }

    // All or nothing of each, together on both branches.
    static Tree expected(bool renamed, bool unlinked) {
        Tree tree;
        for (const char* const branch : {"0", "1"}) {
            const std::string top = branch + std::string("/top");
            const std::string at = renamed ? branch + std::string("/new") : top + "/old";
            tree[top] = top + '/';
            tree[at] = top + "/old/";
            tree[at + "/g"] = top + "/old/g";
            if (!unlinked) tree[at + "/f"] = top + "/old/f";
        }
        return tree;
    }

    bool is_consistent() const {
        const Tree tree = scratch.tree();
        for (const bool renamed : {false, true}) {
            for (const bool unlinked : {false, true}) {
                if (tree == expected(renamed, unlinked)) return true;
            }
        }
        return false;
    }

    ScratchBranches scratch;
    Plan rename;
    Plan unlink;
};

// Cuts the first plan short at call `first`, and where the state on disk is a new one the second
// plan at each of its calls.
bool cut_both_short(std::uint64_t first, Plan Overlap::* one, Plan Overlap::* other,
                    std::set<Shape>& seen) {
    bool first_killed = true;
    bool second_killed = true;
    for (std::uint64_t second = 1; second_killed; ++second) {
        INFO("first killed at call " << first << ", second at call " << second);
        Overlap overlap;
        first_killed = dead_at(first, [&] { overlap.run(overlap.*one); });
        if (second == 1 && !seen.insert(shape(overlap.scratch)).second) break;
        second_killed = dead_at(second, [&] { overlap.run(overlap.*other); });
        ScratchMount mount(overlap.scratch);
        const RecoveryReport report = recover(mount.branches());
        CAPTURE(report.warnings);
        CHECK(report.warnings.empty());
        CHECK(overlap.is_consistent());
        CHECK(mount.tidy_up());
    }
    return first_killed;
}

}  // namespace

TEST_CASE("two plans in flight are each old or new", "[plan][crash]") {
    std::set<Shape> seen;
    SECTION("the directory's rename began first") {
        for (std::uint64_t call = 1;
             cut_both_short(call, &Overlap::rename, &Overlap::unlink, seen);) {
            ++call;
        }
    }
    SECTION("the unlink in it began first") {
        for (std::uint64_t call = 1;
             cut_both_short(call, &Overlap::unlink, &Overlap::rename, seen);) {
            ++call;
        }
    }
}

}  // namespace plyfs::test
