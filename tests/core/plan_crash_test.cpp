// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every verb that touches several branches, cut short at every system call.
#include <catch2/catch_test_macros.hpp>
#include <cerrno>

#include "core/plan_runs.h"

namespace plyfs::test {
namespace {

Scenario unlink_of_two_copies() {
    return {
        .build =
            [](ScratchBranches& scratch) {
                scratch.make_file("0/f");
                scratch.make_file("2/f");
                scratch.make_file("2/other");
            },
        .plan =
            [](ScratchBranches& scratch) { return Plan{scratch.bury("0/f"), scratch.bury("2/f")}; },
        .after = {{"2/other", "2/other"}}};
}

Scenario rename_over_copy() {
    return {.build =
                [](ScratchBranches& scratch) {
                    scratch.make_file("1/old");
                    scratch.make_file("0/new");
                },
            .plan =
                [](ScratchBranches& scratch) {
                    return Plan{scratch.move("1/old", "1/new"), scratch.bury("0/new")};
                },
            .after = {{"1/new", "1/old"}}};
}

Scenario rename_over_copies() {
    return {.build =
                [](ScratchBranches& scratch) {
                    scratch.make_directory("0/from");
                    scratch.make_directory("0/to");
                    scratch.make_directory("2/to");
                    scratch.make_file("0/from/old");
                    scratch.make_file("0/to/new");
                    scratch.make_file("2/to/new");
                },
            .plan =
                [](ScratchBranches& scratch) {
                    return Plan{scratch.replace("0/from/old", "0/to/new"),
                                scratch.bury("2/to/new")};
                },
            .after = {{"0/from", "0/from/"},
                      {"0/to", "0/to/"},
                      {"0/to/new", "0/from/old"},
                      {"2/to", "2/to/"}}};
}

Scenario rename_of_directory() {
    return {.build =
                [](ScratchBranches& scratch) {
                    for (const char* const branch : {"0", "1", "2"}) {
                        scratch.make_directory(branch + std::string("/old"));
                        scratch.make_file(branch + std::string("/old/f"));
                    }
                },
            .plan =
                [](ScratchBranches& scratch) {
                    return Plan{scratch.move("0/old", "0/new"), scratch.move("1/old", "1/new"),
                                scratch.move("2/old", "2/new")};
                },
            .after = {{"0/new", "0/old/"},
                      {"0/new/f", "0/old/f"},
                      {"1/new", "1/old/"},
                      {"1/new/f", "1/old/f"},
                      {"2/new", "2/old/"},
                      {"2/new/f", "2/old/f"}}};
}

void cut_short(const Scenario& scenario) {
    SECTION("nothing is wrong") {
        run_unharmed(scenario);
    }
    SECTION("dead from every call on, and recovery too") {
        kill_recovery_everywhere(scenario);
    }
    SECTION("EIO at every call") {
        fail_everywhere(scenario, EIO);
    }
    SECTION("ENOSPC at every call") {
        fail_everywhere(scenario, ENOSPC);
    }
    SECTION("EXDEV at every call: as below another mount") {
        fail_everywhere(scenario, EXDEV);
    }
    SECTION("EINVAL at every call: as without RENAME_EXCHANGE") {
        fail_everywhere(scenario, EINVAL);
    }
}

}  // namespace

TEST_CASE("unlink of a file with two copies is old or new", "[plan][crash]") {
    SECTION("kill -9 at every call") {
        kill_everywhere(unlink_of_two_copies());
    }
    cut_short(unlink_of_two_copies());
}

TEST_CASE("unlink of a file with three copies is old or new", "[plan][crash]") {
    cut_short(
        {.build =
             [](ScratchBranches& scratch) {
                 for (const char* const branch : {"0", "1", "2"}) {
                     scratch.make_directory(branch + std::string("/d"));
                     scratch.make_file(branch + std::string("/d/f"));
                 }
                 scratch.make_link("1/d/f", "1/d/link");
             },
         .plan =
             [](ScratchBranches& scratch) {
                 return Plan{scratch.bury("0/d/f"), scratch.bury("1/d/f"), scratch.bury("2/d/f")};
             },
         .after = {{"0/d", "0/d/"}, {"1/d", "1/d/"}, {"1/d/link", "1/d/f"}, {"2/d", "2/d/"}}});
}

TEST_CASE("rename over a copy on an earlier branch is old or new", "[plan][crash]") {
    SECTION("kill -9 at every call") {
        kill_everywhere(rename_over_copy());
    }
    cut_short(rename_over_copy());
}

TEST_CASE("rename over copies on its own and a later branch is old or new", "[plan][crash]") {
    SECTION("kill -9 at every call") {
        kill_everywhere(rename_over_copies());
    }
    cut_short(rename_over_copies());
}

TEST_CASE("rename of one name of a file onto another name of it is old or new", "[plan][crash]") {
    cut_short({.build =
                   [](ScratchBranches& scratch) {
                       scratch.make_file("0/old");
                       scratch.make_link("0/old", "0/new");
                       scratch.make_file("1/new");
                   },
               .plan =
                   [](ScratchBranches& scratch) {
                       return Plan{scratch.replace("0/old", "0/new"), scratch.bury("1/new")};
                   },
               .after = {{"0/new", "0/old"}}});
}

TEST_CASE("rename of a directory on three branches is old or new", "[plan][crash]") {
    SECTION("kill -9 at every call") {
        kill_everywhere(rename_of_directory());
    }
    cut_short(rename_of_directory());
}

TEST_CASE("rename of a directory onto an empty one on some branches is old or new",
          "[plan][crash]") {
    cut_short({.build =
                   [](ScratchBranches& scratch) {
                       scratch.make_directory("0/old");
                       scratch.make_file("0/old/f");
                       scratch.make_directory("1/old");
                       scratch.make_directory("1/new");
                       scratch.make_directory("2/new");
                   },
               .plan =
                   [](ScratchBranches& scratch) {
                       return Plan{scratch.move("0/old", "0/new"),
                                   scratch.replace("1/old", "1/new"), scratch.bury("2/new")};
                   },
               .after = {{"0/new", "0/old/"}, {"0/new/f", "0/old/f"}, {"1/new", "1/old/"}}});
}

TEST_CASE("exchange of a file and a directory on different branches is old or new",
          "[plan][crash]") {
    cut_short({.build =
                   [](ScratchBranches& scratch) {
                       scratch.make_file("0/a");
                       scratch.make_directory("0/b");
                       scratch.make_file("1/a");
                       scratch.make_directory("2/b");
                       scratch.make_file("2/b/f");
                   },
               .plan =
                   [](ScratchBranches& scratch) {
                       return Plan{scratch.move("0/a", "0/b", Move::Mode::Exchange),
                                   scratch.move("1/a", "1/b"), scratch.move("2/b", "2/a")};
                   },
               .after = {{"0/b", "0/a"},
                         {"0/a", "0/b/"},
                         {"1/b", "1/a"},
                         {"2/a", "2/b/"},
                         {"2/a/f", "2/b/f"}}});
}

TEST_CASE("rmdir of a directory on three branches is old or new", "[plan][crash]") {
    const auto plan = [](ScratchBranches& scratch) {
        return Plan{scratch.bury("0/d"), scratch.bury("1/d"), scratch.bury("2/d")};
    };
    SECTION("all are empty") {
        cut_short({.build =
                       [](ScratchBranches& scratch) {
                           scratch.make_directory("0/d");
                           scratch.make_directory("1/d");
                           scratch.make_directory("2/d");
                       },
                   .plan = plan,
                   .after = {}});
    }
    SECTION("one is not") {
        cut_short({.build =
                       [](ScratchBranches& scratch) {
                           scratch.make_directory("0/d");
                           scratch.make_directory("1/d");
                           scratch.make_file("1/d/f");
                           scratch.make_directory("2/d");
                       },
                   .plan = plan,
                   .after = {{"0/d", "0/d/"}, {"1/d", "1/d/"}, {"1/d/f", "1/d/f"}, {"2/d", "2/d/"}},
                   .error = ENOTEMPTY});
    }
}

TEST_CASE("names of any bytes are old or new", "[plan][crash]") {
    const std::string directory = "d\n\"'\\ %41";
    const std::string name = "\xff\xfe\x01 %\tend .";
    const std::string first = "0/" + directory;
    const std::string second = "1/" + directory;
    const Scenario scenario{.build =
                                [&](ScratchBranches& scratch) {
                                    scratch.make_directory(first);
                                    scratch.make_directory(second);
                                    scratch.make_file(first + '/' + name);
                                    scratch.make_file(second + "/new");
                                },
                            .plan =
                                [&](ScratchBranches& scratch) {
                                    return Plan{scratch.move(first + '/' + name, first + "/new"),
                                                scratch.bury(second + "/new")};
                                },
                            .after = {{first, first + '/'},
                                      {second, second + '/'},
                                      {first + "/new", first + '/' + name}}};
    SECTION("nothing is wrong") {
        run_unharmed(scenario);
    }
    SECTION("killed at every call") {
        kill_everywhere(scenario);
    }
}

}  // namespace plyfs::test
