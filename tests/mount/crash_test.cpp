// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon is killed while others work in the mount. tests/core cuts every verb short at each of
// its system calls; this is about the whole: several verbs at once, the kernel's part, and the next
// mount. PLYFS_TEST_SEED repeats a run, as far as the moments of kills can be repeated.
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

constexpr unsigned kRounds = 6;
constexpr unsigned kBranches = 3;
constexpr unsigned kWorkers = 3;
constexpr unsigned kTasks = 108;

constexpr char kOld[] = "old";
constexpr char kNew[] = "new";
constexpr char kFirst[] = "first, and synchronized\n";
constexpr char kSecond[] = "second\n";

enum class TaskKind : std::uint8_t {
    Replace,          // rename of a file over copies on the two other branches
    Remove,           // unlink of a file with two copies
    MoveDirectory,    // rename of a directory on three branches
    RemoveDirectory,  // rmdir of one
    MakeDirectory,    // mkdir on three branches, then rmdir
    Write,            // create where parents may be missing, write and fsync, then append
};
constexpr unsigned kTaskKinds = 6;

// What is done to names of its own, in one or two steps.
struct Task {
    unsigned number;

    TaskKind kind() const { return static_cast<TaskKind>(number % kTaskKinds); }
    unsigned worker() const { return number / kTaskKinds % kWorkers; }
    unsigned branch() const { return number / kTaskKinds / kWorkers % kBranches; }
    unsigned steps() const {
        return kind() == TaskKind::MakeDirectory || kind() == TaskKind::Write ? 2 : 1;
    }
    std::string name() const { return "task" + std::to_string(number); }
    std::string target() const { return name() + ".to"; }
    std::string file() const { return name() + "/file"; }
};

// Shared with the workers. The stage of a task: twice the steps that are done, and one more while
// a step is under way.
struct Progress {
    std::atomic<unsigned> begun;
    std::atomic<bool> killed;
    std::array<std::atomic<unsigned>, kTasks> stages;
};

class SharedProgress {
public:
    SharedProgress()
        : memory_(::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
        REQUIRE(memory_ != MAP_FAILED);
        progress_ = new (memory_) Progress{};
    }
    SharedProgress(const SharedProgress&) = delete;
    SharedProgress& operator=(const SharedProgress&) = delete;
    ~SharedProgress() { ::munmap(memory_, sizeof(Progress)); }
    Progress& operator*() const { return *progress_; }
    Progress* operator->() const { return progress_; }

private:
    void* memory_;
    Progress* progress_;
};

void prepare(const Branches& branches, Task task) {
    const auto each = [&](auto&& make) {
        for (unsigned branch = 0; branch < kBranches; ++branch) make(branch);
    };
    switch (task.kind()) {
        case TaskKind::Replace:
            each([&](unsigned branch) {
                const bool own = branch == task.branch();
                put(branches.path(branch, own ? task.name() : task.target()), own ? kNew : kOld);
            });
            break;
        case TaskKind::Remove:
            each([&](unsigned branch) {
                if (branch != task.branch()) put(branches.path(branch, task.name()), kOld);
            });
            break;
        case TaskKind::MoveDirectory:
            each([&](unsigned branch) {
                make_directory(branches.path(branch, task.name()));
                put(branches.path(branch, task.name() + "/" + std::to_string(branch)), kOld);
            });
            break;
        case TaskKind::RemoveDirectory:
            each([&](unsigned branch) { make_directory(branches.path(branch, task.name())); });
            break;
        case TaskKind::MakeDirectory: break;
        case TaskKind::Write: make_directory(branches.path(task.branch(), task.name())); break;
    }
}

Outcome append(const std::string& path, std::string_view text) {
    const UniqueFd file = open_file(path, O_WRONLY | O_CREAT | O_APPEND);
    if (!file) return errno;
    const Outcome written = write_all(file.get(), text);
    return then(written, [&] { return outcome(::fsync(file.get())); });
}

Outcome carry_out(Task task, unsigned step, const std::string& root) {
    const std::string path = root + "/" + task.name();
    const std::string target = root + "/" + task.target();
    switch (task.kind()) {
        case TaskKind::Replace:
        case TaskKind::MoveDirectory: return outcome(::rename(path.c_str(), target.c_str()));
        case TaskKind::Remove: return outcome(::unlink(path.c_str()));
        case TaskKind::RemoveDirectory: return outcome(::rmdir(path.c_str()));
        case TaskKind::MakeDirectory:
            return outcome(step == 0 ? ::mkdir(path.c_str(), 0755) : ::rmdir(path.c_str()));
        case TaskKind::Write: return append(path + "/file", step == 0 ? kFirst : kSecond);
    }
    return EINVAL;
}

// Whether an operation ended this way because the daemon is gone. EIO is the kernel's answer to a
// request that the daemon was reading or answering at that moment: a copy that was cut short.
bool daemon_gone(Outcome done, const Progress& progress) {
    return done == ENOTCONN || done == ECONNABORTED || (done == EIO && progress.killed);
}

// 0 when all is done or the daemon is gone, else what failed.
int work(unsigned worker, const std::string& root, Progress& progress) {
    for (unsigned number = 0; number < kTasks; ++number) {
        const Task task{number};
        if (task.worker() != worker) continue;
        for (unsigned step = 0; step < task.steps(); ++step) {
            progress.stages[number] = 2 * step + 1;
            ++progress.begun;
            const Outcome done = carry_out(task, step, root);
            if (daemon_gone(done, progress)) return 0;
            if (!done.ok()) return done.code();
            progress.stages[number] = 2 * step + 2;
        }
    }
    return 0;
}

// Runs the workers and kills the daemon when so many steps have begun, and a while later.
void work_until_killed(Mount& mount, Progress& progress, unsigned steps,
                       std::chrono::microseconds later) {
    std::vector<Process> workers;
    for (unsigned worker = 0; worker < kWorkers; ++worker)
        workers.emplace_back([&, worker] { return work(worker, mount.path(), progress); });
    const auto any_runs = [&] {
        return std::ranges::any_of(workers, [](const Process& one) { return one.running(); });
    };
    while (progress.begun < steps && any_runs()) ::sched_yield();
    const auto moment = std::chrono::steady_clock::now() + later;
    while (std::chrono::steady_clock::now() < moment) {
    }
    progress.killed = true;
    ::kill(mount.daemon(), SIGKILL);
    for (Process& worker : workers) CHECK(Outcome(worker.wait()) == kOk);
    CHECK(reap(mount.daemon()) == 128 + SIGKILL);
    REQUIRE(outcome(::umount2(mount.path().c_str(), UMOUNT_NOFOLLOW)) == kOk);
    mount.abandon();
}

// Whether `text` is `whole`, or its beginning.
bool begins(std::string_view whole, std::string_view text) {
    return whole.starts_with(text);
}

// What the mount after the crash shows of a task, and what the branches have.
class Check {
public:
    Check(const Mount& mount, const Branches& branches, std::set<std::string>& unaccounted)
        : mount_(mount), branches_(branches), unaccounted_(unaccounted) {}

    void operator()(Task task, unsigned stage) {
        CAPTURE(task.number, stage);
        const bool here = take(task.name());
        const bool there = take(task.target());
        const std::size_t copies = branches_.count(task.name());
        const bool begun = stage > 0;
        const bool done = stage == 2 * task.steps();
        switch (task.kind()) {
            case TaskKind::Replace:
                CHECK(there);
                CHECK(content(mount_.path(task.target())) == (here ? kOld : kNew));
                CHECK(copies == (here ? 1 : 0));
                CHECK(branches_.count(task.target()) == (here ? 2 : 1));
                break;
            case TaskKind::MoveDirectory:
                CHECK(here != there);
                CHECK(names(mount_.path(here ? task.name() : task.target())) ==
                      std::set<std::string>{"0", "1", "2"});
                CHECK(copies == (here ? 3 : 0));
                CHECK(branches_.count(task.target()) == (here ? 0 : 3));
                break;
            case TaskKind::Remove:
                if (here) CHECK(content(mount_.path(task.name())) == kOld);
                CHECK(copies == (here ? 2 : 0));
                break;
            case TaskKind::RemoveDirectory: CHECK(copies == (here ? 3 : 0)); break;
            case TaskKind::MakeDirectory:
                if (stage == 2) CHECK(here);
                if (here && stage > 1) CHECK(copies == 3);
                if (!here) CHECK(copies == 0);
                break;
            case TaskKind::Write: written(task, stage); break;
        }
        if (task.kind() == TaskKind::Write) return;
        if (!begun) CHECK(here == (task.kind() != TaskKind::MakeDirectory));
        if (done) CHECK_FALSE(here);
    }

private:
    bool take(const std::string& name) { return unaccounted_.erase(name) == 1; }

    void written(Task task, unsigned stage) {
        const std::string whole = std::string(kFirst) + kSecond;
        const bool here = exists(mount_.path(task.file()));
        CHECK(branches_.count(task.file()) == (here ? 1 : 0));
        if (stage == 0) CHECK_FALSE(here);
        if (stage >= 2) REQUIRE(here);
        const std::string found = here ? content(mount_.path(task.file())) : "";
        CHECK(begins(stage < 3 ? kFirst : whole, found));
        if (stage >= 2) CHECK(begins(found, kFirst));
        if (stage == 4) CHECK(found == whole);
    }

    const Mount& mount_;
    const Branches& branches_;
    std::set<std::string>& unaccounted_;
};

std::uint64_t any_seed() {
    const char* const given = std::getenv("PLYFS_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
}

TEST_CASE("a daemon killed at work leaves all names old or new", "[crash]") {
    const std::uint64_t seed = any_seed();
    std::mt19937_64 random(seed);
    for (unsigned round = 0; round < kRounds; ++round) {
        CAPTURE(seed, round);
        const Branches branches{Ext4, Xfs, Tmpfs};
        for (unsigned number = 0; number < kTasks; ++number) prepare(branches, Task{number});
        const SharedProgress progress;
        const std::string options = "category.create=rand,func.mkdir=all";
        {
            Mount mount(branches.spec(), options);
            const std::chrono::microseconds later(random() % 3000);
            work_until_killed(mount, *progress, 1 + static_cast<unsigned>(random() % kTasks),
                              later);
        }
        Mount mount(branches.spec(), options);
        std::set<std::string> shown = names(mount.path());
        Check check(mount, branches, shown);
        for (unsigned number = 0; number < kTasks; ++number)
            check(Task{number}, progress->stages[number]);
        // Nothing is shown that nobody made.
        CHECK(shown.empty());
        // And all of it can be removed.
        CHECK(run({"find", mount.path(), "-mindepth", "1", "-delete"}).status == 0);
        CHECK(names(mount.path()).empty());
        mount.unmount();
        for (unsigned branch = 0; branch < kBranches; ++branch)
            CHECK(names(branches[branch]).empty());  // no work directory either
    }
}

}  // namespace
}  // namespace plyfs::test
