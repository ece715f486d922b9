// SPDX-License-Identifier: GPL-2.0-or-later
//
// A read-only branch's file is opened in whatever mix of modes, by whomever, and copied up in the
// middle: nobody is told of it. The branch's file stays as it is.
//
// PLYFS_TEST_SEED: the first seed; PLYFS_TEST_SEEDS: how many.
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <cstdlib>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "mount/files.h"
#include "mount/layered.h"
#include "mount/process.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

constexpr std::size_t kMixSize = 65'536;
// Where writers write: past what is run of the program.
constexpr off_t kWritten = 60'000;

// A program that does nothing.
const std::string& program() {
    static const std::string text = [] {
        std::string read = content("/bin/true");
        REQUIRE(read.size() < static_cast<std::size_t>(kWritten));
        read.resize(kMixSize, '.');
        return read;
    }();
    return text;
}

void make_program(const std::string& path) {
    put(path, program());
    REQUIRE(::chmod(path.c_str(), 0755) == 0);
}

// O_PATH aside, each is also used.
constexpr int kOpenFlags[] = {O_RDONLY,
                              O_WRONLY,
                              O_RDWR,
                              O_WRONLY | O_APPEND,
                              O_RDWR | O_APPEND,
                              O_RDONLY | O_DIRECT,
                              O_RDWR | O_DIRECT,
                              O_PATH,
                              O_RDONLY | O_NOATIME,
                              O_WRONLY | O_TRUNC};
constexpr int kTruncating = O_WRONLY | O_TRUNC;

bool reads(int flags) {
    return (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_WRONLY;
}
bool writes(int flags) {
    return (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY;
}

Outcome use(int file, int flags) {
    alignas(4096) static thread_local std::array<char, 4096> buffer;
    struct stat found{};
    if (::fstat(file, &found) != 0) return errno;
    if (reads(flags) && ::pread(file, buffer.data(), buffer.size(), 0) < 0) return errno;
    if (writes(flags) && (flags & O_DIRECT) == 0 && ::pwrite(file, "w", 1, kWritten) != 1)
        return errno;
    return kOk;
}

Outcome execute(const std::string& path) {
    std::string name = path;
    std::array<char*, 2> arguments{name.data(), nullptr};
    pid_t process = 0;
    if (const int error =
            ::posix_spawn(&process, path.c_str(), nullptr, nullptr, arguments.data(), environ))
        return error;
    return reap(process) == 0 ? 0 : ENOEXEC;
}

// What copies a file up; `path` is where it is afterwards.
struct CopyUp {
    const char* what;
    Outcome (*make)(std::string& path);
    bool data;  // it is made for a change of content
};

constexpr std::array<CopyUp, 6> kCopyUps = {{
    {"open", [](auto& path) { return try_open(path, O_WRONLY); }, true},
    {"truncate", [](auto& path) { return outcome(::truncate(path.c_str(), kMixSize - 1)); }, true},
    {"chmod", [](auto& path) { return outcome(::chmod(path.c_str(), 0700)); }, false},
    {"link", [](auto& path) { return outcome(::link(path.c_str(), (path + "-link").c_str())); },
     false},
    {"rename",
     [](auto& path) {
         const std::string from = path;
         path += "-renamed";
         return outcome(::rename(from.c_str(), path.c_str()));
     },
     false},
    {"setxattr", [](auto& path) { return set_xattr(path, "user.name", "value"); }, false},
}};

// Opens of one file, one after the other, in random modes.
class Opens {
public:
    Opens(bool snapshot, std::string path, std::uint64_t seed)
        : snapshot_(snapshot), path_(std::move(path)), random_(seed) {}

    void run(int count, const CopyUp& copy_up) {
        const int when = pick(count);
        for (int i = 0; i < count; ++i) {
            if (i == when) make(copy_up);
            if (pick(20) == 0) {
                run_program();
            } else {
                open_one();
            }
            // Whether a closed file is released is not known; so none is until that is the same.
            if (changed_ && !files_.empty() && pick(4) == 0)
                files_.erase(files_.begin() + pick(static_cast<int>(files_.size())));
        }
        check();
    }

private:
    struct File {
        UniqueFd descriptor;
        int flags;
        bool keeps;
    };

    int pick(int count) { return static_cast<int>(random_() % static_cast<unsigned>(count)); }

    void make(const CopyUp& copy_up) {
        REQUIRE(copy_up.make(path_) == kOk);
        copied_ = true;
        changed_ = changed_ || copy_up.data;
    }

    void open_one() {
        int flags = kOpenFlags[pick(std::size(kOpenFlags))];
        if (flags == kTruncating && pick(10) != 0) flags = O_RDONLY;
        CAPTURE(flags);
        UniqueFd file = open_file(path_, flags);
        REQUIRE(outcome(file.get()) == kOk);
        if (writes(flags)) copied_ = changed_ = true;
        if (flags == kTruncating) truncated_ = true;
        REQUIRE(use(file.get(), flags) == kOk);
        // On the branch until it is copied, or with others who are.
        const bool kept = !copied_ || std::ranges::any_of(files_, &File::keeps);
        const bool keeps = snapshot_ && reads(flags) && !changed_ && kept;
        files_.push_back({std::move(file), flags, keeps});
    }

    void run_program() {
        const bool written =
            std::ranges::any_of(files_, [](const File& file) { return writes(file.flags); });
        const Outcome ran = execute(path_);
        if (written) {
            REQUIRE(ran == ETXTBSY);
        } else if (truncated_) {
            REQUIRE(ran == ENOEXEC);
        } else {
            REQUIRE(ran == kOk);
        }
    }

    void check() {
        const std::string now = content(path_);
        for (const File& file : files_) {
            if (!reads(file.flags) || (file.flags & O_DIRECT) != 0) continue;
            CAPTURE(file.flags, file.keeps);
            const bool as_expected =
                content(file.descriptor.get()) == (file.keeps ? program() : now);
            CHECK(as_expected);
        }
    }

    bool snapshot_;
    std::string path_;
    std::mt19937_64 random_;
    std::vector<File> files_;
    bool copied_ = false;
    bool changed_ = false;
    bool truncated_ = false;
};

// Room for a thousand descriptors, for good.
void allow_many_descriptors() {
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

Stacking any_stacking() {
    Stacking stacking = GENERATE(from_range(stackings()));
    UNSCOPED_INFO(stacking.name);
    return stacking;
}

TEST_CASE("a lower file is opened in any mix of modes around its copy-up",
          "[passthrough][readers]") {
    allow_many_descriptors();
    const Stacking stacking = any_stacking();
    const std::uint64_t first = from_environment("PLYFS_TEST_SEED", 1);
    const std::uint64_t last = first + from_environment("PLYFS_TEST_SEEDS", 1);
    const int counts[] = {2, 10, 1000};
    const auto name = [](std::size_t way, int count) {
        return std::to_string(way) + "-" + std::to_string(count);
    };
    for (std::uint64_t seed = first; seed < last; ++seed) {
        allow_seconds(kTestCaseSeconds);
        const Layered layered(stacking, [&](const std::string& lower) {
            for (std::size_t way = 0; way < kCopyUps.size(); ++way)
                for (const int count : counts) make_program(lower + "/" + name(way, count));
        });
        for (std::size_t way = 0; way < kCopyUps.size(); ++way) {
            for (const int count : counts) {
                if (count == 1000 && way != seed % kCopyUps.size()) continue;
                CAPTURE(seed, kCopyUps[way].what, count);
                Opens(stacking.snapshot, layered.path(name(way, count)), seed * 100 + way)
                    .run(count, kCopyUps[way]);
            }
        }
        CHECK(layered.lower_changes() == "");
    }
}

// Opens in random modes until `end`; what failed that should not. Must not use Catch2.
Outcome open_randomly(const std::string& path, std::uint64_t seed, bool executes) {
    std::mt19937_64 random(seed);
    std::vector<UniqueFd> files(8);
    for (int i = 0; i < 60; ++i) {
        UniqueFd& file = files[random() % files.size()];
        file.reset();
        if (executes && random() % 16 == 0) {
            const Outcome ran = execute(path);
            if (!ran.ok() && ran != ETXTBSY && ran != ENOEXEC && ran != ENOENT) return ran;
            continue;
        }
        const int flags = kOpenFlags[random() % std::size(kOpenFlags)];
        file = open_file(path, flags);
        if (!file && errno == ENOENT) continue;
        if (!file && errno == ETXTBSY && executes && writes(flags)) continue;
        if (!file) return errno;
        if (const Outcome used = use(file.get(), flags); !used.ok()) return used;
    }
    return kOk;
}

TEST_CASE("many open a lower file while it is copied up", "[passthrough][readers][race]") {
    const Stacking stacking = any_stacking();
    const bool executes = GENERATE(false, true);
    const Layered layered(stacking, [&](const std::string& lower) {
        for (const CopyUp& way : kCopyUps) make_program(lower + "/" + way.what);
    });
    for (const CopyUp& way : kCopyUps) {
        CAPTURE(way.what, executes);
        std::string path = layered.path(way.what);
        const std::string first_path = path;
        const UniqueFd reader = open_file(path, O_RDONLY);
        std::vector<Process> processes;
        processes.reserve(2);
        for (std::uint64_t i = 0; i < 2; ++i)
            processes.emplace_back(
                [&, i] { return open_randomly(first_path, i, executes).code(); });
        std::array<Outcome, 2> outcomes;
        {
            std::vector<std::jthread> threads;
            for (std::size_t i = 0; i < outcomes.size(); ++i)
                threads.emplace_back(
                    [&, i] { outcomes[i] = open_randomly(first_path, 10 + i, executes); });
            Outcome copied;
            do {
                copied = way.make(path);
            } while (copied == ETXTBSY && executes && way.data);
            CHECK(copied == kOk);
            if (path != first_path)
                CHECK(outcome(::rename(path.c_str(), first_path.c_str())) == kOk);
        }
        for (const Outcome opened : outcomes) CHECK(opened == kOk);
        for (Process& process : processes) CHECK(Outcome(process.wait()) == kOk);
        if (stacking.snapshot) {
            const bool kept = content(reader.get()) == program();
            CHECK(kept);
        } else {
            const bool followed = content(reader.get()) == content(first_path);
            CHECK(followed);
        }
    }
    CHECK(layered.lower_changes() == "");
}

}  // namespace
}  // namespace plyfs::test
