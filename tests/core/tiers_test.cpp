// SPDX-License-Identifier: GPL-2.0-or-later
//
// Two writable branches, one that gets nothing new, and two read-only ones: a name on every choice
// of them is removed, made anew on either writable branch, renamed and replaced.
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <filesystem>

#include "core/driven_union.h"

namespace plyfs::test {
namespace {

constexpr std::size_t kTiers = 5;
constexpr std::uint64_t kNeverFree = std::uint64_t{1} << 60;

// In precedence; what is new goes to the first, or to the second.
std::vector<BranchSpec> tiers(bool to_second) {
    return {{BranchMode::ReadWrite, {}, to_second ? kNeverFree : 0}, kRw, kNc, kRo, kRo};
}

// `x`, a file or a directory with a file in it, on the branches whose bit is set in `where`.
class Tiers {
public:
    explicit Tiers(unsigned where)
        : directories(GENERATE(false, true)), to_second(GENERATE(false, true)), u(tiers(to_second)),
          where_(where) {
        for (std::size_t branch = 0; branch < kTiers; ++branch) {
            if ((where & 1U << branch) == 0) continue;
            const std::string path = u.host(branch, "x");
            if (directories) std::filesystem::create_directory(path);
            host_write(directories ? path + "/inside" : path, std::to_string(branch));
        }
        for (const std::size_t lower : {3U, 4U}) before_.push_back(tree_state(u.host(lower)));
    }
    ~Tiers() {
        for (const std::size_t lower : {3U, 4U}) {
            CHECK(tree_state(u.host(lower)) == before_[lower - 3]);
        }
    }

    // What the first branch has.
    std::string shown() const { return std::to_string(std::countr_zero(where_)); }
    std::string file(const std::string& name) const {
        return directories ? name + "/inside" : name;
    }

    int remove(const std::string& name) {
        if (!directories) return u.unlink(name);
        const int emptied = u.unlink(file(name));
        if (emptied != 0 && emptied != ENOENT) return emptied;
        return u.rmdir(name);
    }
    int make(const std::string& name) { return directories ? u.mkdir(name) : u.write(name, "new"); }

    // These names are there, and no others, now and after a remount.
    void check_names(const std::vector<std::string>& names) {
        for (int round = 0; round < 2; ++round) {
            CHECK(u.names("") == names);
            for (const std::string name : {"n", "x", "y"}) {
                const bool there = std::ranges::find(names, name) != names.end();
                CHECK(code(u.look(name)) == (there ? 0 : ENOENT));
            }
            u.remount();
        }
    }
    // `name` was just made.
    void check_new(const std::string& name) {
        for (int round = 0; round < 2; ++round) {
            if (directories) {
                CHECK(u.names(name).empty());
            } else {
                CHECK(*u.read(name) == "new");
            }
            u.remount();
        }
    }

    const bool directories;
    const bool to_second;
    DrivenUnion u;

private:
    unsigned where_;
    std::vector<std::string> before_;
};

unsigned any_choice() {
    return GENERATE(Catch::Generators::range(1U, 1U << kTiers));
}

}  // namespace

TEST_CASE("a name on any branches is removed", "[layers][tiers]") {
    const unsigned where = any_choice();
    CAPTURE(where);
    Tiers tiers(where);
    REQUIRE(tiers.remove("x") == 0);
    tiers.check_names({});
}

TEST_CASE("a name that was removed is made anew", "[layers][tiers]") {
    const unsigned where = any_choice();
    CAPTURE(where);
    Tiers tiers(where);
    REQUIRE(tiers.remove("x") == 0);
    if (GENERATE(false, true)) tiers.u.remount();
    REQUIRE(tiers.make("x") == 0);
    CHECK(exists(tiers.u.host(tiers.to_second ? 1 : 0, "x")));
    tiers.check_new("x");
    tiers.check_names({"x"});
    CHECK(tiers.u.mkdir("x") == EEXIST);
    REQUIRE(tiers.remove("x") == 0);
    tiers.check_names({});
}

TEST_CASE("a name on any branches is renamed", "[layers][tiers]") {
    const unsigned where = any_choice();
    CAPTURE(where);
    Tiers tiers(where);
    REQUIRE(tiers.u.rename("x", "y") == 0);
    tiers.check_names({"y"});
    CHECK(*tiers.u.read(tiers.file("y")) == tiers.shown());
    REQUIRE(tiers.make("x") == 0);
    tiers.check_new("x");
    CHECK(*tiers.u.read(tiers.file("y")) == tiers.shown());
    REQUIRE(tiers.remove("y") == 0);
    tiers.check_names({"x"});
}

TEST_CASE("a name on any branches is replaced", "[layers][tiers]") {
    const unsigned where = any_choice();
    CAPTURE(where);
    Tiers tiers(where);
    REQUIRE(tiers.make("n") == 0);
    if (tiers.directories) {
        CHECK(tiers.u.rename("n", "x") == ENOTEMPTY);
        REQUIRE(tiers.u.unlink("x/inside") == 0);
    }
    REQUIRE(tiers.u.rename("n", "x") == 0);
    tiers.check_new("x");
    tiers.check_names({"x"});
    REQUIRE(tiers.remove("x") == 0);
    tiers.check_names({});
}

}  // namespace plyfs::test
