// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every verb with an error injected at each of its system calls in turn: whatever it answers, what
// is to be seen afterwards is the tree of before or the one of after, in this mount and in the
// next, and nothing is left open.
#include <sys/stat.h>
#include <sys/xattr.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>

#include "core/visible_tree.h"
#include "sys/fault.h"
#include "union/recovery.h"

namespace plyfs::test {
namespace {

namespace fs = std::filesystem;

struct FaultyVerb {
    const char* name;
    std::function<int(DrivenUnion&)> run;
    // More states are allowed than before and after: what POSIX lets a failed call have changed.
    bool may_be_partial = false;
};

void populate(DrivenUnion& u) {
    for (const std::size_t branch : {0U, 1U, 2U}) {
        fs::create_directories(u.host(branch, "three/sub"));
        fs::create_directory(u.host(branch, "empty"));
        host_write(u.host(branch, "three/f" + std::to_string(branch)), "text");
        host_write(u.host(branch, "copies"), "branch " + std::to_string(branch));
    }
    fs::create_directories(u.host(1, "only/deep"));
    host_write(u.host(1, "file"), "text");
    host_write(u.host(2, "other"), "other");
    host_write(u.host(1, "only/deep/f"), "text");
    fs::create_symlink("target", u.host(1, "symlink"));
    for (const std::string name : {"file", "only", "only/deep"}) {
        REQUIRE(::setxattr(u.host(1, name).c_str(), "trusted.mark", "m", 1, 0) == 0);
    }
}

std::vector<FaultyVerb> verbs() {
    using U = DrivenUnion;
    const auto change = [](U& u, const std::string& path) {
        AttributeChange wanted;
        wanted.mode = 0711;
        wanted.uid = 12;
        return u.change(path, wanted);
    };
    return {
        {"lookup", [](U& u) { return code(u.look("three/sub")); }},
        {"getattr", [](U& u) { return code(u.verbs().getattr(kRootNode)); }},
        {"readdir", [](U& u) { return code(u.list("three")); }},
        {"create", [](U& u) { return u.write("new", ""); }},
        {"create with parents", [](U& u) { return u.write("only/deep/new", ""); }},
        {"mkdir", [](U& u) { return u.mkdir("only/deep/new"); }},
        {"mknod", [](U& u) { return u.mknod("only/deep/new", S_IFIFO | 0600); }},
        {"symlink", [](U& u) { return u.symlink("target", "only/deep/new"); }},
        {"link", [](U& u) { return u.link("other", "only/deep/new"); }},
        {"tmpfile",
         [](U& u) {
             const auto made = u.tmpfile("only/deep");
             if (made) u.verbs().release(made->opened.handle);
             return code(made);
         }},
        {"open",
         [](U& u) {
             const auto opened = u.open("file", O_RDWR);
             if (opened) u.verbs().release(opened->handle);
             return code(opened);
         }},
        {"open with O_TRUNC",
         [](U& u) {
             const auto opened = u.open("file", O_RDWR | O_TRUNC);
             if (opened) u.verbs().release(opened->handle);
             return code(opened);
         }},
        {"readlink", [](U& u) { return code(u.read_link("symlink")); }},
        {"unlink", [](U& u) { return u.unlink("file"); }},
        {"unlink of three copies", [](U& u) { return u.unlink("copies"); }},
        {"rmdir of three copies", [](U& u) { return u.rmdir("empty"); }},
        {"rename", [](U& u) { return u.rename("file", "new"); }},
        {"rename with parents", [](U& u) { return u.rename("other", "only/deep/new"); }},
        {"rename over a copy elsewhere", [](U& u) { return u.rename("file", "other"); }},
        {"rename over three copies", [](U& u) { return u.rename("file", "copies"); }},
        {"rename of three copies", [](U& u) { return u.rename("copies", "file"); }},
        {"rename of a directory on three branches", [](U& u) { return u.rename("three", "new"); }},
        {"rename onto an empty directory on three branches",
         [](U& u) { return u.rename("three", "empty"); }},
        {"exchange over branches", [](U& u) { return u.rename("file", "other", RENAME_EXCHANGE); }},
        {"exchange of a file and a directory on three branches",
         [](U& u) { return u.rename("file", "three", RENAME_EXCHANGE); }},
        {"setattr of three copies", [change](U& u) { return change(u, "copies"); }, true},
        {"setattr of a directory", [change](U& u) { return change(u, "three"); }, true},
        {"setxattr of three copies", [](U& u) { return u.set_xattr("copies", "trusted.x", "1"); }},
        {"listxattr", [](U& u) { return code(u.xattrs("file")); }},
        {"getxattr", [](U& u) { return code(u.xattr("file", "trusted.mark")); }},
        {"fsyncdir", [](U& u) { return code(u.verbs().fsyncdir(kRootNode, false)); }},
    };
}

// One union over new branches, tried once.
struct Trial {
    Trial() : u({kRw, kRw, kRw}) { populate(u); }

    DrivenUnion u;
};

std::uint64_t count_calls(const FaultyVerb& verb, VisibleTree& before, VisibleTree& after) {
    Trial trial;
    before = visible_tree(trial.u);
    trial.u.forget_all();
    fault::arm(fault::Action::None, 0);
    const int answer = verb.run(trial.u);
    const std::uint64_t calls = fault::disarm();
    INFO(verb.name);
    REQUIRE(answer == 0);
    after = visible_tree(trial.u);
    return calls;
}

}  // namespace

TEST_CASE("an error at any system call leaves the old tree or the new", "[fault]") {
    const int error = GENERATE(EIO, ENOSPC);
    const auto all = verbs();
    const FaultyVerb& verb =
        all[GENERATE(Catch::Generators::range(std::size_t{0}, verbs().size()))];
    VisibleTree before;
    VisibleTree after;
    const std::uint64_t calls = count_calls(verb, before, after);
    for (std::uint64_t nth = 1; nth <= calls; ++nth) {
        INFO(verb.name << ", errno " << error << " at call " << nth << " of " << calls);
        const std::size_t descriptors = open_descriptors();
        {
            Trial trial;
            DrivenUnion& u = trial.u;
            // The kernel has looked the names up before, or has not.
            if (nth % 2 == 0) (void)visible_tree(u);
            if (nth % 3 == 0) u.forget_all();
            fault::arm(fault::Action::Error, nth, error);
            const int answer = verb.run(u);
            fault::disarm();
            CHECK(u.counts().files == 0);
            const VisibleTree now = visible_tree(u);
            u.remount();
            const VisibleTree later = visible_tree(u);
            CHECK(difference(now, later) == "");
            if (verb.may_be_partial) {
                if (answer == 0) CHECK(difference(after, now) == "");
                continue;
            }
            INFO("answer " << answer << "\nfrom before:\n"
                           << difference(before, now) << "from after:\n"
                           << difference(after, now));
            CHECK((now == after || (answer != 0 && now == before)));
        }
        CHECK(open_descriptors() == descriptors);
    }
}

}  // namespace plyfs::test
