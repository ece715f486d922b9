// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/plan.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "core/code.h"
#include "core/scratch_branches.h"
#include "sys/fault.h"

namespace plyfs::test {
namespace {

class PhaseJournal final : public Journal {
public:
    PhaseJournal() : Journal(1) {}
    Result<void> begin(std::string_view) override { return {}; }
    void phase(Phase phase, std::uint64_t) override { phases.push_back(phase); }
    void result(int) override {}

    std::vector<Phase> phases;
};

}  // namespace

TEST_CASE("a plan of one step leaves no work directory", "[plan]") {
    ScratchBranches scratch(1);
    ScratchMount mount(scratch);
    scratch.make_file("0/a");
    scratch.make_file("0/b");
    SECTION("move") {
        CHECK(code(mount.execute({scratch.move("0/a", "0/c")})) == 0);
        CHECK(scratch.tree() == Tree{{"0/c", "0/a"}, {"0/b", "0/b"}});
    }
    SECTION("exchange") {
        CHECK(code(mount.execute({scratch.move("0/a", "0/b", Move::Mode::Exchange)})) == 0);
        CHECK(scratch.tree() == Tree{{"0/b", "0/a"}, {"0/a", "0/b"}});
    }
    SECTION("replace") {
        CHECK(code(mount.execute({scratch.replace("0/a", "0/b")})) == 0);
        CHECK(scratch.tree() == Tree{{"0/b", "0/a"}});
    }
    SECTION("bury") {
        CHECK(code(mount.execute({scratch.bury("0/a")})) == 0);
        CHECK(scratch.tree() == Tree{{"0/b", "0/b"}});
    }
    CHECK_FALSE(std::filesystem::exists(scratch.host_path("0/.plyfs")));
}

TEST_CASE("a plan refuses what is not there any more", "[plan]") {
    ScratchBranches scratch(2);
    ScratchMount mount(scratch);
    scratch.make_file("0/f");
    scratch.make_file("1/f");
    scratch.make_file("1/g");
    Plan plan{scratch.bury("0/f"), scratch.move("1/f", "1/h")};
    SECTION("another file stands there") {
        std::filesystem::rename(scratch.host_path("1/g"), scratch.host_path("1/f"));
        const Tree before = scratch.tree();
        CHECK(code(mount.execute(plan)) == ESTALE);
        CHECK(scratch.tree() == before);
    }
    SECTION("the target's name is taken") {
        std::filesystem::rename(scratch.host_path("1/g"), scratch.host_path("1/h"));
        const Tree before = scratch.tree();
        CHECK(code(mount.execute(plan)) == EEXIST);
        CHECK(scratch.tree() == before);
    }
    SECTION("what is to be removed is gone") {
        std::filesystem::remove(scratch.host_path("0/f"));
        CHECK(code(mount.execute(plan)) == 0);
        CHECK(scratch.tree() == Tree{{"1/g", "1/g"}, {"1/h", "1/f"}});
    }
    CHECK(mount.tidy_up());
}

TEST_CASE("a plan on a read-only branch is EROFS", "[plan]") {
    ScratchBranches scratch(1);
    scratch.make_file("0/f");
    const std::vector<PlanBranch> branches{{scratch.root(0), nullptr}};
    NullJournal journal;
    CHECK(code(execute({scratch.bury("0/f")}, {branches, journal, {}})) == EROFS);
    CHECK(scratch.tree().contains("0/f"));
}

TEST_CASE("the ancestors of a plan's places may be renamed while it runs", "[plan]") {
    ScratchBranches scratch(2);
    ScratchMount mount(scratch);
    for (const char* const branch : {"0", "1"}) {
        scratch.make_directory(branch + std::string("/d"));
        scratch.make_file(branch + std::string("/d/f"));
    }
    const Plan plan{scratch.bury("0/d/f"), scratch.bury("1/d/f")};
    std::filesystem::rename(scratch.host_path("0/d"), scratch.host_path("0/e"));
    CHECK(code(mount.execute(plan)) == 0);
    CHECK(scratch.tree() == Tree{{"0/e", "0/d/"}, {"1/d", "1/d/"}});
}

TEST_CASE("a journal learns how a plan went", "[plan]") {
    ScratchBranches scratch(2);
    ScratchMount mount(scratch);
    scratch.make_directory("0/d");
    scratch.make_directory("1/d");
    PhaseJournal journal;
    const Plan plan{scratch.bury("0/d"), scratch.bury("1/d")};
    using Phase = Journal::Phase;
    SECTION("executed") {
        CHECK(code(execute(plan, {mount.branches(), journal, {}})) == 0);
        CHECK(journal.phases == std::vector{Phase::Intended, Phase::Executed});
    }
    SECTION("undone") {
        scratch.make_file("1/d/f");
        CHECK(code(execute(plan, {mount.branches(), journal, {}})) == ENOTEMPTY);
        CHECK(journal.phases == std::vector{Phase::Intended, Phase::Undone});
    }
}

TEST_CASE("a full disk can delete", "[plan]") {
    ScratchBranches scratch(2);
    scratch.make_file("0/f");
    scratch.make_file("1/f");
    // Each mount makes its directories on the branches first: those are what no room is for.
    for (std::uint64_t call = 1; call <= 6; ++call) {
        ScratchMount mount(scratch);
        const Plan plan{scratch.bury("0/f"), scratch.bury("1/f")};
        fault::arm(fault::Action::Error, call, ENOSPC);
        const auto done = mount.execute(plan);
        fault::disarm();
        CHECK(code(done) == 0);
        CHECK(scratch.tree().empty());
        scratch.make_file("0/f");
        scratch.make_file("1/f");
    }
}

}  // namespace plyfs::test
