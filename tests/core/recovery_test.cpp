// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/recovery.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>
#include <fstream>
#include <tuple>

#include "core/plan_runs.h"
#include "sys/statx.h"
#include "union/intent_file.h"

namespace plyfs::test {
namespace {

namespace fs = std::filesystem;

// A rename over a copy on another branch, to be killed between its two steps.
const Scenario kRename{.build =
                           [](ScratchBranches& scratch) {
                               scratch.make_file("0/old");
                               scratch.make_file("1/new");
                           },
                       .plan =
                           [](ScratchBranches& scratch) {
                               return Plan{scratch.move("0/old", "0/new"), scratch.bury("1/new")};
                           },
                       .after = {{"0/new", "0/old"}}};

struct Interrupted {
    const std::unique_ptr<ScratchBranches> held =
        interrupted(kRename, [](const Tree& tree) { return tree.contains("0/new"); });
    ScratchBranches& scratch = *held;
    const Tree after = kRename.after;

    fs::path record() const {
        for (const auto& entry : fs::directory_iterator(scratch.host_path("0/.plyfs/intents"))) {
            return entry.path();
        }
        return {};
    }
};

void append(const fs::path& path, std::string_view text) {
    std::ofstream(path, std::ios::app | std::ios::binary) << text;
}

}  // namespace

TEST_CASE("recovery of clean branches does nothing", "[recovery]") {
    ScratchBranches scratch(2);
    ScratchMount mount(scratch);
    const RecoveryReport report = recover(mount.branches());
    CHECK(report.warnings.empty());
    CHECK(report.completed + report.undone + report.left + report.damaged + report.swept == 0);
    CHECK(scratch.names() == std::vector<std::string>{"0", "1"});
}

TEST_CASE("recovery completes an interrupted plan", "[recovery]") {
    Interrupted killed;
    ScratchMount mount(killed.scratch);
    const RecoveryReport report = recover(mount.branches());
    CHECK(report.completed == 1);
    CHECK(killed.scratch.tree() == killed.after);
    CHECK(mount.tidy_up());
}

TEST_CASE("a name that was made again after its record is not touched", "[recovery]") {
    Interrupted killed;
    const ScratchBranches& scratch = killed.scratch;
    fs::rename(scratch.host_path("1/new"), scratch.host_path("1/kept"));
    killed.scratch.make_file("1/new");
    ScratchMount mount(scratch);
    CHECK(recover(mount.branches()).completed == 1);
    CHECK(scratch.tree() == Tree{{"0/new", "0/old"}, {"1/kept", "1/new"}, {"1/new", "1/new"}});
}

TEST_CASE("recovery undoes what it can't complete", "[recovery]") {
    Interrupted killed;
    // Back to the start, and something else has the new name.
    fs::rename(killed.scratch.host_path("0/new"), killed.scratch.host_path("0/old"));
    killed.scratch.make_file("0/new");
    const Tree before = killed.scratch.tree();
    ScratchMount mount(killed.scratch);
    const RecoveryReport report = recover(mount.branches());
    CHECK(report.undone == 1);
    CHECK(killed.scratch.tree() == before);
    CHECK(mount.tidy_up());
}

TEST_CASE("a damaged record is set aside", "[recovery]") {
    Interrupted killed;
    const fs::path record = killed.record();
    SECTION("garbage") {
        append(record, "x");
    }
    SECTION("empty") {
        fs::resize_file(record, 0);
    }
    SECTION("cut off") {
        fs::resize_file(record, fs::file_size(record) - 1);
    }
    SECTION("not a file") {
        fs::remove(record);
        fs::create_symlink("/etc/passwd", record);
    }
    const Tree before = killed.scratch.tree();
    for (const std::size_t expected : {1U, 0U}) {
        ScratchMount mount(killed.scratch);
        const RecoveryReport report = recover(mount.branches());
        CHECK(report.damaged == expected);
        CHECK(report.warnings.size() == expected);
        CHECK(killed.scratch.tree() == before);
        CHECK(fs::symlink_status(record.string() + ".damaged").type() != fs::file_type::not_found);
        CHECK_FALSE(mount.tidy_up());
    }
}

TEST_CASE("a record of a branch that is not mounted waits for it", "[recovery]") {
    Interrupted killed;
    const Tree before = killed.scratch.tree();
    {
        ScratchMount mount(killed.scratch);
        const RecoveryReport report = recover(mount.branches().subspan(0, 1));
        CHECK(report.left == 1);
        CHECK(report.warnings.size() == 1);
        CHECK(killed.scratch.tree() == before);
    }
    ScratchMount mount(killed.scratch);
    CHECK(recover(mount.branches()).completed == 1);
    CHECK(killed.scratch.tree() == killed.after);
    CHECK(mount.tidy_up());
}

TEST_CASE("a branch keeps its id while the one with the record is not mounted", "[recovery]") {
    Interrupted killed;
    const Tree before = killed.scratch.tree();
    for (int turn = 0; turn < 2; ++turn) {
        ScratchMount mount(killed.scratch);
        const auto without_record = mount.branches().subspan(1);
        CHECK(recover(without_record).warnings.size() == 1);
        CHECK_FALSE(tidy(without_record));
        CHECK(killed.scratch.tree() == before);
    }
    ScratchMount mount(killed.scratch);
    const RecoveryReport report = recover(mount.branches());
    CHECK(report.completed == 1);
    CHECK(report.warnings.empty());
    CHECK(killed.scratch.tree() == killed.after);
    CHECK(mount.tidy_up());
}

TEST_CASE("an unmount keeps what a plan that could not be undone needs", "[recovery]") {
    bool cut_short = false;
    for (std::uint64_t call = 1; !cut_short; ++call) {
        ScratchBranches scratch(2);
        scratch.make_file("0/f");
        scratch.make_file("1/f");
        const Tree before = scratch.tree();
        ScratchMount mount(scratch);
        const Plan plan{scratch.bury("1/f"), scratch.bury("0/f")};
        REQUIRE(dead_at(call, [&] { std::ignore = mount.execute(plan); }));
        const Tree left = scratch.tree();
        cut_short = left.contains("0/f") && !left.contains("1/f");
        if (!cut_short) continue;
        CHECK(mount.warnings.size() == 1);
        CHECK_FALSE(mount.tidy_up());
        ScratchMount next(scratch);
        const RecoveryReport report = recover(next.branches());
        CHECK(report.completed == 1);
        CHECK(scratch.tree().empty());
        CHECK(next.tidy_up());
    }
}

TEST_CASE("what was buried waits for the branch that has the record", "[recovery]") {
    const Scenario unlink{
        .build =
            [](ScratchBranches& made) {
                made.make_file("0/f");
                made.make_file("1/f");
            },
        .plan = [](ScratchBranches& made) { return Plan{made.bury("1/f"), made.bury("0/f")}; },
        .after = {}};
    const auto held = interrupted(unlink, [](const Tree& tree) { return !tree.contains("1/f"); });
    const ScratchBranches& scratch = *held;
    const auto graves = [&] {
        std::vector<std::string> names = scratch.names();
        return std::ranges::count_if(names, [](const std::string& name) {
            return name.find("grave.") != std::string::npos;
        });
    };
    REQUIRE(graves() == 1);
    {
        ScratchMount mount(scratch);
        const RecoveryReport report = recover(mount.branches().subspan(1));
        CHECK(report.warnings.size() == 1);
        CHECK(report.swept == 0);
        CHECK(graves() == 1);
        CHECK_FALSE(tidy(mount.branches().subspan(1)));
    }
    ScratchMount mount(scratch);
    CHECK(recover(mount.branches()).completed == 1);
    CHECK(scratch.tree().empty());
    CHECK(mount.tidy_up());
}

TEST_CASE("a living mount's records are not replayed", "[recovery]") {
    Interrupted killed;
    const Tree before = killed.scratch.tree();
    {
        // The mount that wrote the record holds its locks again.
        ScratchMount living(killed.scratch, kMountId);
        REQUIRE(living.work(0).work());
        REQUIRE(living.work(1).work());
        ScratchMount other(killed.scratch);
        const RecoveryReport report = recover(other.branches());
        CHECK(report.warnings.empty());
        CHECK(report.completed == 0);
        CHECK(killed.scratch.tree() == before);
        CHECK_FALSE(other.tidy_up());
    }
    ScratchMount mount(killed.scratch);
    CHECK(recover(mount.branches()).completed == 1);
    CHECK(killed.scratch.tree() == killed.after);
}

TEST_CASE("branches with one id are not recovered", "[recovery]") {
    Interrupted killed;
    const auto& scratch = killed.scratch;
    fs::copy_file(scratch.host_path("0/.plyfs/id"), scratch.host_path("1/.plyfs/id"),
                  fs::copy_options::overwrite_existing);
    const Tree before = scratch.tree();
    ScratchMount mount(scratch);
    const RecoveryReport report = recover(mount.branches());
    CHECK(report.left == 1);
    CHECK(report.warnings.size() == 3);
    CHECK(scratch.tree() == before);
}

TEST_CASE("objects that are gone are told", "[recovery]") {
    Interrupted killed;
    fs::remove(killed.scratch.host_path("0/new"));
    ScratchMount mount(killed.scratch);
    const RecoveryReport report = recover(mount.branches());
    CHECK(report.completed == 1);
    CHECK(report.warnings.size() == 1);
    CHECK(killed.scratch.tree().empty());
}

TEST_CASE("recovery finds what a record names in a work directory", "[recovery]") {
    using Home = WorkDirectory::Home;
    const Home kind = GENERATE(Home::Root, Home::Apart);
    ScratchBranches scratch(2);  // the second is the directory apart
    const int home = scratch.root(kind == Home::Root ? 0 : 1);
    scratch.make_file("0/victim");
    scratch.make_file("0/other");
    {
        WorkDirectory dead(home, make_mount_id().value(), kind);
        const int work = dead.work().value();
        scratch.make_file("0/staged");
        auto replace = std::get<Replace>(scratch.replace("0/staged", "0/victim"));
        auto bury = std::get<Bury>(scratch.bury("0/other"));
        fs::rename("/proc/self/fd/" + std::to_string(replace.from.directory) + "/staged",
                   "/proc/self/fd/" + std::to_string(work) + "/staged");
        const Identity root = Identity::of(sys::stat_descriptor(scratch.root(0)).value());
        replace.from = {work, WorkDirectory::work_path(), "staged"};
        replace.to.parent_identity = bury.place.parent_identity = root;
        const Intent intent{.mount = dead.mount(),
                            .home = dead.id().value(),
                            .sequence = next_sequence(),
                            .ids = {dead.id().value()},
                            .plan = {replace, bury}};
        REQUIRE(write_intent(intent, dead));
    }
    WorkDirectory work(home, make_mount_id().value(), kind);
    const PlanBranch branch{scratch.root(0), &work};
    const RecoveryReport report = recover({&branch, 1});
    CHECK(report.warnings.empty());
    CHECK(report.completed == 1);
    CHECK(tidy({&branch, 1}));
    CHECK(scratch.tree() == Tree{{"0/victim", "0/staged"}});
    CHECK(scratch.names() == std::vector<std::string>{"0", "0/victim", "1"});
}

}  // namespace plyfs::test
