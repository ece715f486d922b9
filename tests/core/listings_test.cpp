// SPDX-License-Identifier: GPL-2.0-or-later
//
// Whether the kernel may keep the listing that it holds of a directory.
#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "core/driven_union.h"
#include "union/listings.h"

namespace plyfs::test {
namespace {

using namespace std::chrono_literals;

// An opened directory of the union; closed at the end.
class Stream {
public:
    Stream(DrivenUnion& u, const std::string& path, std::chrono::nanoseconds validity = 1h,
           bool wants_attributes = false)
        : u_(u), handle_(u.verbs().opendir(u.look(path)->node).value()),
          use_(u.verbs().recall_listing(handle_, validity, wants_attributes)) {}
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream() { u_.verbs().releasedir(handle_); }

    ListingUse use() const { return use_; }
    std::size_t read(std::uint64_t offset = 0) {
        return u_.read_directory(handle_, offset).value().size();
    }
    // Reads one name at `offset`; whether the kernel must forget what it holds.
    bool mixes(std::uint64_t offset = 0) {
        return u_.verbs().readdir(handle_, offset, [](const auto&) { return false; }).value();
    }

private:
    DrivenUnion& u_;
    HandleId handle_;
    ListingUse use_;
};

// A directory on two branches, in a union that relies on each change to have a time of its own.
struct TwoBranches {
    explicit TwoBranches(std::vector<BranchSpec> branches = {kRw, kRw}, std::size_t names = 1000)
        : u(branches) {
        u.remount([names](UnionOptions& options) {
            options.tick = 0ns;
            options.listed_names = names;
        });
        for (std::size_t branch = 0; branch < branches.size(); ++branch) {
            std::filesystem::create_directory(u.host(branch, "dir"));
            host_write(u.host(branch, "dir/" + std::to_string(branch)), "x");
        }
    }
    ListingUse opened(const std::string& path = "dir") { return Stream(u, path).use(); }
    void list(const std::string& path = "dir") {
        wait();
        Stream(u, path).read();
        wait();
    }
    // Until the branches' file systems, which may count in ticks of the kernel, count on.
    static void wait() { std::this_thread::sleep_for(20ms); }

    DrivenUnion u;
};

// A change that leaves no trace in the times that can be set.
template <typename Change>
void secretly(const std::string& directory, Change&& change) {
    struct stat before{};
    REQUIRE(::stat(directory.c_str(), &before) == 0);
    change();
    const timespec times[] = {before.st_atim, before.st_mtim};
    REQUIRE(::utimensat(AT_FDCWD, directory.c_str(), times, 0) == 0);
}

}  // namespace

TEST_CASE("a listing is kept until something changes", "[readdir][listings]") {
    TwoBranches listed(
        GENERATE(std::vector<BranchSpec>{kRw, kRw}, std::vector<BranchSpec>{kRw, kRo}));
    DrivenUnion& u = listed.u;
    CHECK(listed.opened() == ListingUse::Fill);
    listed.list();
    CHECK(listed.opened() == ListingUse::Keep);
    CHECK(listed.opened() == ListingUse::Keep);
    const std::string changed = u.host(GENERATE(0, 1), "dir");
    SECTION("behind the mount, whatever the directory's times say") {
        secretly(changed, [&] { host_write(changed + "/new", "x"); });
    }
    SECTION("by a name that goes") {
        secretly(changed, [&] { std::filesystem::remove(changed + "/0"); });
        secretly(changed, [&] { std::filesystem::remove(changed + "/1"); });
    }
    SECTION("by a directory that is another one") {
        std::filesystem::rename(changed, changed + ".old");
        std::filesystem::create_directory(changed);
    }
    SECTION("through the mount") {
        REQUIRE(u.write("dir/new", "x") == 0);
    }
    SECTION("by a rename, that changes what .. is") {
        REQUIRE(u.mkdir("parent") == 0);
        REQUIRE(u.rename("dir", "parent/dir") == 0);
        CHECK(listed.opened("parent/dir") == ListingUse::Fill);
        REQUIRE(u.rename("parent/dir", "dir") == 0);
    }
    CHECK(listed.opened() == ListingUse::Fill);
    listed.list();
    CHECK(listed.opened() == ListingUse::Keep);
}

TEST_CASE("what was changed within a tick is not relied on", "[readdir][listings]") {
    TwoBranches listed;
    listed.u.remount([](UnionOptions& options) { options.tick = 1h; });
    listed.list();
    CHECK(listed.opened() == ListingUse::Fill);
}

TEST_CASE("who goes on in a kept listing reads on where the kernel ended", "[readdir][listings]") {
    TwoBranches listed;
    DrivenUnion& u = listed.u;
    for (int number = 10; number < 30; ++number)
        REQUIRE(u.write("dir/" + std::to_string(number), "x") == 0);
    listed.list();
    Stream kept(u, "dir");
    REQUIRE(kept.use() == ListingUse::Keep);
    const std::size_t rest = kept.read(10);
    Stream later(u, "dir");
    REQUIRE(later.use() == ListingUse::Keep);
    for (int number = 10; number < 20; ++number)
        REQUIRE(u.unlink("dir/" + std::to_string(number)) == 0);
    CHECK(later.read(20) == 4);
    // What was removed is left out, nothing else.
    CHECK(kept.read(10) <= rest);
    CHECK(later.read(24) == 0);
    CHECK(later.read(0) == 2 + 12);
}

TEST_CASE("readers of different listings do not share what the kernel holds",
          "[readdir][listings]") {
    TwoBranches listed;
    DrivenUnion& u = listed.u;
    SECTION("one that comes when the directory has changed") {
        Stream early(u, "dir");
        CHECK_FALSE(early.mixes());
        TwoBranches::wait();
        REQUIRE(u.write("dir/new", "x") == 0);
        CHECK(listed.opened() == ListingUse::None);
    }
    SECTION("two that were there before") {
        Stream one(u, "dir");
        Stream other(u, "dir");
        CHECK(other.use() == ListingUse::Fill);
        CHECK_FALSE(one.mixes());
        TwoBranches::wait();
        REQUIRE(u.write("dir/new", "x") == 0);
        CHECK(other.mixes());
        CHECK(listed.opened() == ListingUse::None);
        CHECK(Stream(u, "dir").mixes());
    }
    SECTION("two of the same listing do") {
        Stream one(u, "dir");
        Stream other(u, "dir");
        CHECK_FALSE(one.mixes());
        CHECK_FALSE(other.mixes());
        CHECK(listed.opened() == ListingUse::Keep);
    }
    CHECK(listed.opened() != ListingUse::None);
    listed.list();
    CHECK(listed.opened() == ListingUse::Keep);
}

TEST_CASE("where names are asked for one by one the listing is read with attributes",
          "[readdir][listings]") {
    TwoBranches listed;
    DrivenUnion& u = listed.u;
    listed.list();
    CHECK(Stream(u, "dir", 0ns).use() == ListingUse::KeepNames);
    REQUIRE(u.stat("dir/0"));
    CHECK(Stream(u, "dir", 0ns).use() == ListingUse::Fill);
    CHECK(Stream(u, "dir", 1h).use() == ListingUse::Keep);
}

TEST_CASE("who wants attributes is given them with the listing", "[readdir][listings]") {
    TwoBranches listed;
    listed.list();
    CHECK(Stream(listed.u, "dir", 0ns, true).use() == ListingUse::Fill);
    CHECK(Stream(listed.u, "dir", 1h, true).use() == ListingUse::Keep);
    CHECK(Stream(listed.u, "dir", 0ns, false).use() == ListingUse::KeepNames);
}

TEST_CASE("listings take bounded memory", "[readdir][listings]") {
    TwoBranches listed({kRw, kRw}, 5);
    DrivenUnion& u = listed.u;
    for (const char* const name : {"one", "two", "three"}) {
        REQUIRE(u.mkdir(name) == 0);
        REQUIRE(u.write(std::string(name) + "/1", "x") == 0);
        REQUIRE(u.write(std::string(name) + "/2", "x") == 0);
        listed.list(name);
    }
    CHECK(listed.opened("one") == ListingUse::Fill);
    CHECK(listed.opened("two") == ListingUse::Keep);
    CHECK(listed.opened("three") == ListingUse::Keep);
    {
        const Stream held(u, "two");
        listed.list();
        listed.list("one");
        CHECK(listed.opened("three") == ListingUse::Fill);
    }
    SECTION("that of a directory that nobody remembers is given back") {
        u.forget_all();
        listed.list("three");
        CHECK(listed.opened("three") == ListingUse::Keep);
        u.forget_all();
        CHECK(listed.opened("three") == ListingUse::Fill);
    }
    SECTION("none at all") {
        u.remount([](UnionOptions& options) { options.listed_names = 0; });
        listed.list();
        CHECK(listed.opened() == ListingUse::Fill);
    }
}

TEST_CASE("numbers that follow times are not kept", "[readdir][listings]") {
    DrivenUnion u({kRw, kRw}, policies(config::Policy::Ff, config::Policy::Newest));
    u.remount([](UnionOptions& options) { options.tick = 0ns; });
    host_write(u.host(0, "a"), "x");
    Stream(u, "").read();
    CHECK(Stream(u, "").use() == ListingUse::None);
}

}  // namespace plyfs::test
