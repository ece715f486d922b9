// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every verb that copies up, hides or redirects, cut short at each of its system calls: after a
// crash and recovery, or after an error, the tree that is seen is the old one or the new one, what
// is below never changes, and no temporary object is left.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <random>

#include "core/driven_union.h"
#include "core/plan_runs.h"
#include "core/visible_tree.h"
#include "sys/fault.h"
#include "union/recovery.h"

namespace plyfs::test {
namespace {

namespace fs = std::filesystem;

using Verb = std::function<int(DrivenUnion&)>;

struct LayeredScenario {
    // What is done before, and so is part of the old tree.
    Verb prepare = [](DrivenUnion&) { return 0; };
    Verb verb;
    bool prepares_index = false;  // so that the branches' work directories stay
};

// Writable branches over one read-only branch. With two, they are on different file systems.
class Site {
public:
    explicit Site(std::size_t writable) {
        if (writable > 1) other_.emplace(FileSystemKind::Ext4, 64 * kMebi);
        for (std::size_t i = 0; i < writable; ++i) uppers_.emplace_back(i == 0 ? "/0" : "/1");
    }

    // New branches, with what the verbs are about.
    void build(const LayeredScenario& scenario) {
        specs_.clear();
        const std::string turn = '/' + std::to_string(++turn_);
        for (std::size_t i = 0; i < uppers_.size(); ++i) {
            const std::string& top = i == 1 ? other_->path() : directory_.path();
            specs_.push_back({BranchMode::ReadWrite, top + turn + uppers_[i]});
        }
        lower_ = directory_.path() + turn + "/lower";
        specs_.push_back({BranchMode::ReadOnly, lower_});
        ::umask(022);  // a union takes it away
        for (const BranchSpec& spec : specs_) fs::create_directories(spec.path);
        fill();
        below_ = tree_state(lower_);
        DrivenUnion u(specs_);
        REQUIRE(scenario.prepare(u) == 0);
        u.verbs().release_work();
        REQUIRE(tidy(plan_branches(u)) != scenario.prepares_index);
    }

    void clear() const {
        for (const BranchSpec& spec : specs_) fs::remove_all(fs::path(spec.path).parent_path());
    }

    const std::vector<BranchSpec>& specs() const { return specs_; }

    // Nothing but what is seen is left on the branches, and below all is as it was.
    void check_clean(DrivenUnion& u) const {
        u.verbs().release_work();
        CHECK(tidy(plan_branches(u)));
        for (const BranchSpec& spec : specs_) CHECK_FALSE(exists(spec.path + "/.plyfs"));
        CHECK(tree_state(lower_) == below_);
    }

    static std::vector<PlanBranch> plan_branches(DrivenUnion& u) {
        std::vector<PlanBranch> result;
        for (const auto& branch : u.verbs().branches()) {
            result.push_back(
                {branch->root(), branch->writable() ? &branch->work() : nullptr, branch->path()});
        }
        return result;
    }

private:
    void fill() const {
        fs::create_directories(lower_ + "/dir/inner");
        fs::create_directories(lower_ + "/merged");
        fs::create_directories(lower_ + "/empty");
        host_write(lower_ + "/dir/file", "lower file");
        host_write(lower_ + "/dir/inner/deep", "deep");
        host_write(lower_ + "/merged/below", "below");
        host_write(lower_ + "/top", std::string(100, 't'));
        host_write(lower_ + "/other", "other");
        fs::create_directories(lower_ + "/links");
        host_write(lower_ + "/links/one", "linked");
        fs::create_hard_link(lower_ + "/links/one", lower_ + "/links/two");
        fs::create_symlink("target", lower_ + "/link");
        const std::string& upper = specs_[specs_.size() - 2].path;
        fs::create_directories(upper + "/merged");
        host_write(upper + "/merged/above", "above");
        host_write(upper + "/own", "own");
        fs::create_directories(upper + "/own-dir");
    }

    ScratchDirectory directory_;
    std::optional<ScratchFileSystem> other_;
    std::vector<std::string> uppers_;
    std::vector<BranchSpec> specs_;
    std::string lower_;
    std::string below_;
    std::uint64_t turn_ = 0;
};

// Every eighth call, another one each time; PLYFS_TEST_EVERY=1 asks for all of them.
std::uint64_t stride() {
    const char* const asked = std::getenv("PLYFS_TEST_EVERY");
    return asked != nullptr ? std::max(1ULL, std::strtoull(asked, nullptr, 10)) : 8;
}

std::uint64_t first_call() {
    return 1 + std::random_device()() % stride();
}

struct Trees {
    VisibleTree before;
    VisibleTree after;
};

Trees run_unharmed(Site& site, const LayeredScenario& scenario) {
    Trees trees;
    site.build(scenario);
    {
        DrivenUnion u(site.specs());
        trees.before = visible_tree(u);
        REQUIRE(scenario.verb(u) == 0);
        trees.after = visible_tree(u);
        site.check_clean(u);
    }
    DrivenUnion u(site.specs());
    CHECK(difference(trees.after, visible_tree(u)) == "");
    site.clear();
    return trees;
}

void kill_everywhere(Site& site, const LayeredScenario& scenario) {
    const Trees trees = run_unharmed(site, scenario);
    bool died = true;
    for (std::uint64_t call = first_call(); died; call += stride()) {
        INFO("dead from call " << call << " on");
        site.build(scenario);
        {
            DrivenUnion u(site.specs());
            died = dead_at(call, [&] { scenario.verb(u); });
        }
        DrivenUnion u(site.specs());
        const RecoveryReport report = recover(Site::plan_branches(u));
        CAPTURE(report.warnings);
        CHECK(report.warnings.empty());
        u.verbs().sweep_indexes();
        const VisibleTree found = visible_tree(u);
        if (found != trees.before) CHECK(difference(trees.after, found) == "");
        // And what was not done can be done.
        if (found == trees.before && trees.before != trees.after) {
            CHECK(scenario.verb(u) == 0);
            CHECK(difference(trees.after, visible_tree(u)) == "");
        }
        site.check_clean(u);
        site.clear();
    }
}

void fail_everywhere(Site& site, const LayeredScenario& scenario, int error) {
    const Trees trees = run_unharmed(site, scenario);
    bool failed = true;
    for (std::uint64_t call = first_call(); failed; call += stride()) {
        INFO("errno " << error << " at call " << call);
        site.build(scenario);
        {
            DrivenUnion u(site.specs());
            fault::arm(fault::Action::Error, call, error);
            const int answer = scenario.verb(u);
            failed = fault::disarm() >= call;
            CAPTURE(answer);
            // An error may come from looking at what was done, too.
            const VisibleTree found = visible_tree(u);
            if (answer == 0 || found != trees.before) CHECK(difference(trees.after, found) == "");
        }
        // What could not be removed when it was time is swept.
        DrivenUnion u(site.specs());
        CHECK(recover(Site::plan_branches(u)).warnings.empty());
        site.check_clean(u);
        site.clear();
    }
}

void cut_short(const LayeredScenario& scenario) {
    SECTION("dead from every call on, one writable branch") {
        Site site(1);
        kill_everywhere(site, scenario);
    }
    SECTION("dead from every call on, two writable branches") {
        Site site(2);
        kill_everywhere(site, scenario);
    }
    SECTION("EIO at every call") {
        Site site(2);
        fail_everywhere(site, scenario, EIO);
    }
    SECTION("ENOSPC at every call: without a branch that could take its place") {
        Site site(1);
        fail_everywhere(site, scenario, ENOSPC);
    }
}

Verb chmod(const std::string& path) {
    return [=](DrivenUnion& u) { return u.chmod(path, 0600); };
}
Verb unlink(const std::string& path) {
    return [=](DrivenUnion& u) { return u.unlink(path); };
}
Verb rename(const std::string& from, const std::string& to, unsigned flags = 0) {
    return [=](DrivenUnion& u) { return u.rename(from, to, flags); };
}
int open_and_close(DrivenUnion& u, const std::string& path, int flags) {
    const auto opened = u.open(path, flags);
    if (opened) u.verbs().release(opened->handle);
    return code(opened);
}
// The directory `dir` is not there any more.
int remove_dir(DrivenUnion& u) {
    for (const char* const file : {"dir/file", "dir/inner/deep"}) {
        if (const int error = u.unlink(file)) return error;
    }
    const int error = u.rmdir("dir/inner");
    return error != 0 ? error : u.rmdir("dir");
}

}  // namespace

TEST_CASE("a copy-up is old or new", "[layers][crash]") {
    SECTION("chmod of a file") {
        cut_short({.verb = chmod("top")});
    }
    SECTION("chmod of a file in directories that are copied up too") {
        cut_short({.verb = chmod("dir/inner/deep")});
    }
    SECTION("chmod of a directory") {
        cut_short({.verb = chmod("dir/inner")});
    }
    SECTION("of a symlink") {
        cut_short({.verb = [](DrivenUnion& u) {
            AttributeChange owner;
            owner.uid = 77;
            return u.change("link", owner);
        }});
    }
    SECTION("open for writing") {
        cut_short({.verb = [](DrivenUnion& u) { return open_and_close(u, "top", O_RDWR); }});
    }
    SECTION("truncate") {
        cut_short({.verb = [](DrivenUnion& u) {
            AttributeChange change;
            change.size = 3;
            return u.change("dir/file", change);
        }});
    }
    SECTION("open with O_TRUNC") {
        cut_short(
            {.verb = [](DrivenUnion& u) { return open_and_close(u, "top", O_RDWR | O_TRUNC); }});
    }
    SECTION("an extended attribute") {
        cut_short({.verb = [](DrivenUnion& u) { return u.set_xattr("top", "user.x", "1"); }});
    }
    SECTION("a link") {
        cut_short({.verb = [](DrivenUnion& u) { return u.link("top", "dir/inner/new"); }});
    }
}

TEST_CASE("removing what is below is old or new", "[layers][crash]") {
    SECTION("a lower file") {
        cut_short({.verb = unlink("top")});
    }
    SECTION("a lower file in a directory that is copied up") {
        cut_short({.verb = unlink("dir/inner/deep")});
    }
    SECTION("a file that was copied up") {
        cut_short({.prepare = chmod("top"), .verb = unlink("top")});
    }
    SECTION("a lower directory") {
        cut_short({.verb = [](DrivenUnion& u) { return u.rmdir("empty"); }});
    }
    SECTION("a directory in which there are whiteouts") {
        cut_short({.prepare = unlink("dir/inner/deep"),
                   .verb = [](DrivenUnion& u) { return u.rmdir("dir/inner"); }});
    }
}

// Not with errors: on a full disk the name goes without its copy's count.
TEST_CASE("a crash at the removal of the last of several lower names leaves no copy",
          "[layers][links][crash]") {
    Site site(GENERATE(1U, 2U));
    const auto prepare = [](DrivenUnion& u) {
        const int error = u.write("links/one", "new");
        return error != 0 ? error : u.unlink("links/one");
    };
    kill_everywhere(site,
                    {.prepare = prepare, .verb = unlink("links/two"), .prepares_index = true});
}

TEST_CASE("making a name that was removed is old or new", "[layers][crash]") {
    SECTION("a file") {
        cut_short({.prepare = unlink("top"), .verb = [](DrivenUnion& u) {
                       const auto made = u.create("top");
                       if (made) u.verbs().release(made->opened.handle);
                       return code(made);
                   }});
    }
    SECTION("a directory") {
        cut_short({.prepare = remove_dir, .verb = [](DrivenUnion& u) { return u.mkdir("dir"); }});
    }
    SECTION("a symlink") {
        cut_short({.prepare = unlink("top"),
                   .verb = [](DrivenUnion& u) { return u.symlink("elsewhere", "top"); }});
    }
    SECTION("a link") {
        cut_short({.prepare = unlink("top"),
                   .verb = [](DrivenUnion& u) { return u.link("other", "top"); }});
    }
}

TEST_CASE("a rename among layers is old or new", "[layers][crash]") {
    SECTION("of a lower file") {
        cut_short({.verb = rename("top", "new")});
    }
    SECTION("of a lower file to a directory that is copied up") {
        cut_short({.verb = rename("top", "dir/inner/new")});
    }
    SECTION("of a lower file over a lower file") {
        cut_short({.verb = rename("top", "dir/file")});
    }
    SECTION("of an upper file over a lower file") {
        cut_short({.verb = rename("own", "top")});
    }
    SECTION("of a lower file over a whiteout") {
        cut_short({.prepare = unlink("dir/file"), .verb = rename("top", "dir/file")});
    }
    SECTION("of an upper file over a whiteout") {
        cut_short({.prepare = unlink("top"), .verb = rename("own", "top")});
    }
    SECTION("of a lower directory") {
        cut_short({.verb = rename("dir", "new")});
    }
    SECTION("of a merged directory") {
        cut_short({.verb = rename("merged", "dir/new")});
    }
    SECTION("of a merged directory over a whiteout") {
        cut_short({.prepare = unlink("top"), .verb = rename("merged", "top")});
    }
    SECTION("of an upper directory over a whiteout") {
        cut_short({.prepare = remove_dir, .verb = rename("own-dir", "dir")});
    }
    SECTION("of a merged directory over an empty lower directory") {
        cut_short({.verb = rename("merged", "empty")});
    }
    SECTION("of an upper directory over one in which there are whiteouts") {
        cut_short({.prepare = unlink("dir/inner/deep"), .verb = rename("own-dir", "dir/inner")});
    }
    SECTION("of a directory that was renamed before") {
        cut_short({.prepare = rename("dir", "new"), .verb = rename("new", "merged/again")});
    }
    SECTION("back to where it was") {
        cut_short({.prepare = rename("dir", "new"), .verb = rename("new", "dir")});
    }
}

TEST_CASE("an exchange among layers is old or new", "[layers][crash]") {
    SECTION("of lower files") {
        cut_short({.verb = rename("top", "dir/file", RENAME_EXCHANGE)});
    }
    SECTION("of a lower file and a merged directory") {
        cut_short({.verb = rename("top", "merged", RENAME_EXCHANGE)});
    }
    SECTION("of a merged and a lower directory") {
        cut_short({.verb = rename("merged", "dir", RENAME_EXCHANGE)});
    }
    SECTION("of an upper file and a lower directory") {
        cut_short({.verb = rename("own", "dir/inner", RENAME_EXCHANGE)});
    }
}

}  // namespace plyfs::test
