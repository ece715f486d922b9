// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/work_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/host_files.h"
#include "core/plan_runs.h"
#include "sys/entry.h"
#include "sys/open.h"
#include "union/recovery.h"

namespace plyfs::test {
namespace fs = std::filesystem;

TEST_CASE("a work directory appears when it is needed and goes when it is empty",
          "[work_directory]") {
    ScratchBranches scratch(1);
    ScratchMount mount(scratch);
    CHECK(scratch.names() == std::vector<std::string>{"0"});
    const BranchId id = mount.work(0).id().value();
    CHECK(id.size() == 32);
    struct stat status{};
    REQUIRE(::stat(scratch.host_path("0/.plyfs").c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0700);
    CHECK(*mount.work(0).remove_if_empty());
    CHECK(scratch.names() == std::vector<std::string>{"0"});
    // Used again, it is another one.
    CHECK(mount.work(0).id().value() != id);
    CHECK(*mount.work(0).remove_if_empty());
}

TEST_CASE("a work directory apart leaves the branch's root alone", "[work_directory]") {
    ScratchBranches scratch(2);  // the second is the directory apart
    WorkDirectory work(scratch.root(1), make_mount_id().value(), WorkDirectory::Home::Apart);
    CHECK(work.overlay_base());
    REQUIRE(work.work());
    CHECK(fs::is_empty(scratch.host_path("0")));
    CHECK(fs::is_directory(scratch.host_path("1/plyfs/work") + "/" + work.mount()));
    CHECK(*work.remove_if_empty());
    CHECK(scratch.names() == std::vector<std::string>{"0", "1"});
}

TEST_CASE("a branch keeps its id over mounts", "[work_directory]") {
    ScratchBranches scratch(1);
    const BranchId first = ScratchMount(scratch).work(0).id().value();
    CHECK(ScratchMount(scratch).work(0).id().value() == first);
}

TEST_CASE("an inherited setgid bit does not reach the work directory", "[work_directory]") {
    ScratchBranches scratch(1);
    REQUIRE(::chmod(scratch.host_path("0").c_str(), 02777) == 0);
    ScratchMount mount(scratch);
    REQUIRE(mount.work(0).work());
    struct stat status{};
    REQUIRE(::stat(scratch.host_path("0/.plyfs").c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0700);
}

TEST_CASE("a work directory that others may write is refused", "[work_directory]") {
    ScratchBranches scratch(1);
    REQUIRE(::mkdir(scratch.host_path("0/.plyfs").c_str(), 0777) == 0);
    REQUIRE(::chmod(scratch.host_path("0/.plyfs").c_str(), 0777) == 0);
    ScratchMount mount(scratch);
    CHECK(mount.work(0).work().error() == EPERM);
    CHECK(recover(mount.branches()).warnings.size() == 1);
}

TEST_CASE("a symlink is not taken for a work directory", "[work_directory]") {
    ScratchBranches scratch(1);
    scratch.make_directory("0/elsewhere");
    scratch.make_symlink("0/.plyfs", "elsewhere");
    ScratchMount mount(scratch);
    CHECK(mount.work(0).work().error() == ENOTDIR);
    CHECK(fs::is_empty(scratch.host_path("0/elsewhere")));
}

TEST_CASE("many threads find one work directory", "[work_directory]") {
    ScratchBranches scratch(1);
    ScratchMount mount(scratch);
    std::vector<std::thread> threads;
    std::vector<BranchId> ids(8);
    threads.reserve(ids.size());
    for (BranchId& id : ids) {
        threads.emplace_back([&] { id = mount.work(0).id().value(); });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(std::ranges::count(ids, ids.front()) == std::ssize(ids));
    CHECK(WorkDirectory::unique_name("x") != WorkDirectory::unique_name("x"));
}

TEST_CASE("mounts come and go on one branch at the same time", "[work_directory]") {
    ScratchBranches scratch(1);
    std::vector<std::thread> threads;
    std::vector<int> failures(4, 0);
    threads.reserve(failures.size());
    for (int& failed : failures) {
        threads.emplace_back([&] {
            for (int turn = 0; turn < 50; ++turn) {
                ScratchMount mount(scratch);
                recover(mount.branches());
                const auto work = mount.work(0).work();
                const std::string text = WorkDirectory::unique_name("mine");
                const Name name = Name::from(text).value();
                if (!work || !sys::open_at(*work, name, O_WRONLY | O_CREAT, 0600)) ++failed;
                if (!work || !sys::remove_name(*work, name)) ++failed;
                if (!mount.work(0).remove_if_empty()) ++failed;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(failures == std::vector<int>(4, 0));
    CHECK(scratch.names() == std::vector<std::string>{"0"});
}

TEST_CASE("a dead mount's temporary objects are swept, a living one's are not",
          "[work_directory]") {
    ScratchBranches scratch(1);
    scratch.make_directory("0/outside");
    scratch.make_file("0/outside/f");
    ScratchMount living(scratch);
    const std::string left = std::string("0/.plyfs/work") + "/" + living.work(0).mount();
    REQUIRE(living.work(0).work());
    scratch.make_file(left + "/mine");
    {
        const ScratchMount dead(scratch);
        REQUIRE(const_cast<ScratchMount&>(dead).work(0).work());
    }
    std::string other;
    for (const auto& entry : fs::directory_iterator(scratch.host_path("0/.plyfs/work"))) {
        if (entry.path().filename() != living.work(0).mount()) other = entry.path().filename();
    }
    other = std::string("0/.plyfs/work") + "/" + other;
    scratch.make_file(other + "/f");
    scratch.make_symlink(other + "/link", scratch.host_path("0/outside"));
    scratch.make_directory(other + "/d");
    scratch.make_symlink(other + "/d/link", scratch.host_path("0/outside"));

    ScratchMount mount(scratch);
    const RecoveryReport report = recover(mount.branches());
    CHECK(report.warnings.empty());
    CHECK(report.swept == 4);
    CHECK_FALSE(fs::exists(scratch.host_path(other)));
    CHECK(fs::exists(scratch.host_path(left + "/mine")));
    CHECK(fs::exists(scratch.host_path("0/outside/f")));
}

TEST_CASE("a deep tree is swept with few descriptors", "[work_directory]") {
    constexpr std::size_t kDepth = 3000;  // deeper than PATH_MAX reaches
    ScratchBranches scratch(1);
    {
        ScratchMount dead(scratch);
        UniqueFd at = sys::duplicate(dead.work(0).work().value()).value();
        const Name name = Name::from("deeper").value();
        for (std::size_t depth = 0; depth < kDepth; ++depth) {
            REQUIRE(sys::make_directory(at.get(), name, 0700));
            REQUIRE(sys::open_at(at.get(), Name::from("f").value(), O_WRONLY | O_CREAT, 0600));
            at = sys::open_directory_at(at.get(), name).value();
        }
    }
    ScratchMount mount(scratch);
    const std::size_t before = open_descriptors();
    CHECK(recover(mount.branches()).swept == 2 * kDepth);
    CHECK(open_descriptors() == before);
    CHECK(mount.tidy_up());
}

}  // namespace plyfs::test
