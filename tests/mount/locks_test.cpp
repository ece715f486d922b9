// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <csignal>
#include <functional>
#include <optional>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

Outcome lock_range(int file, short type, off_t start, off_t length, int command = F_SETLK) {
    struct flock lock{};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = start;
    lock.l_len = length;
    return outcome(::fcntl(file, command, &lock));
}

// A process that takes a lock, says so, and holds it until it is told by a pipe to release it.
class Holder {
public:
    Holder(const std::string& path, const std::function<Outcome(int)>& lock) {
        std::array<int, 2> to{};
        std::array<int, 2> from{};
        REQUIRE(::pipe2(to.data(), O_CLOEXEC) == 0);
        REQUIRE(::pipe2(from.data(), O_CLOEXEC) == 0);
        const UniqueFd release_reader(to[0]);
        release_.reset(to[1]);
        const UniqueFd held_reader(from[0]);
        UniqueFd held_writer(from[1]);
        process_.emplace([&] {
            const UniqueFd file = open_file(path, O_RDWR);
            const char taken = lock(file.get()).ok() ? 'y' : 'n';
            char byte = 0;
            if (::write(held_writer.get(), &taken, 1) != 1) return 1;
            return ::read(release_reader.get(), &byte, 1) == 1 ? 0 : 1;
        });
        held_writer.reset();
        char taken = 0;
        REQUIRE(::read(held_reader.get(), &taken, 1) == 1);
        REQUIRE(taken == 'y');
    }
    pid_t id() const { return process_->id(); }
    void release() {
        CHECK(::write(release_.get(), "x", 1) == 1);
        CHECK(process_->wait() == 0);
    }

private:
    UniqueFd release_;
    std::optional<Process> process_;
};

const char* any_scope() {
    return GENERATE("locks=local", "locks=branch", "locks=local,passthrough.io=off",
                    "locks=branch,passthrough.io=off", "locks=local,io_uring");
}

TEST_CASE("POSIX locks hold between processes", "[locks]") {
    const char* const scope = any_scope();
    CAPTURE(scope);
    const Union united({Ext4}, scope);
    const std::string path = united.path("file");
    put(path, "0123456789");
    const UniqueFd file = open_file(path, O_RDWR);
    Holder holder(path, [](int held) { return lock_range(held, F_WRLCK, 2, 4); });

    CHECK(lock_range(file.get(), F_WRLCK, 0, 2) == kOk);
    CHECK(lock_range(file.get(), F_RDLCK, 4, 1) == EAGAIN);
    CHECK(lock_range(file.get(), F_WRLCK, 0, 0) == EAGAIN);
    CHECK(lock_range(file.get(), F_WRLCK, 6, 0) == kOk);
    struct flock found{};
    found.l_type = F_RDLCK;
    found.l_whence = SEEK_SET;
    REQUIRE(::fcntl(file.get(), F_GETLK, &found) == 0);
    CHECK(found.l_type == F_WRLCK);
    CHECK(found.l_start == 2);
    CHECK(found.l_len == 4);
    if (std::string_view(scope).starts_with("locks=local")) CHECK(found.l_pid == holder.id());
    holder.release();
    CHECK(lock_range(file.get(), F_WRLCK, 0, 0, F_SETLKW) == kOk);
}

TEST_CASE("POSIX locks go with any descriptor of the process", "[locks]") {
    const Union united({Ext4}, any_scope());
    const std::string path = united.path("file");
    put(path, "0123456789");
    const UniqueFd file = open_file(path, O_RDWR);
    REQUIRE(lock_range(file.get(), F_WRLCK, 0, 0) == kOk);
    const auto taken = [&] {
        return in_process([&] {
            const UniqueFd other = open_file(path, O_RDWR);
            return lock_range(other.get(), F_WRLCK, 0, 0);
        });
    };
    CHECK(taken() == EAGAIN);
    open_file(path, O_RDONLY).reset();
    CHECK(taken() == kOk);
}

TEST_CASE("flock holds between processes", "[locks]") {
    const Union united({Ext4}, any_scope());
    const std::string path = united.path("file");
    put(path, "");
    const UniqueFd file = open_file(path, O_RDONLY);
    Holder shared(path, [](int held) { return outcome(::flock(held, LOCK_SH)); });
    CHECK(outcome(::flock(file.get(), LOCK_SH | LOCK_NB)) == kOk);
    CHECK(outcome(::flock(file.get(), LOCK_EX | LOCK_NB)) == EWOULDBLOCK);
    shared.release();
    CHECK(outcome(::flock(file.get(), LOCK_EX)) == kOk);
    CHECK(in_process([&] {
              const UniqueFd other = open_file(path, O_RDONLY);
              return outcome(::flock(other.get(), LOCK_SH | LOCK_NB));
          }) == EWOULDBLOCK);
    CHECK(outcome(::flock(file.get(), LOCK_UN)) == kOk);
}

TEST_CASE("who waits for a lock gets it", "[locks]") {
    const Union united({Ext4}, any_scope());
    const std::string path = united.path("file");
    put(path, "0123456789");
    const bool posix = GENERATE(true, false);
    Holder holder(path, [&](int held) {
        return posix ? lock_range(held, F_WRLCK, 0, 0) : outcome(::flock(held, LOCK_EX));
    });
    Process waiter([&] {
        const UniqueFd file = open_file(path, O_RDWR);
        return (posix ? lock_range(file.get(), F_WRLCK, 0, 0, F_SETLKW)
                      : outcome(::flock(file.get(), LOCK_EX)))
            .code();
    });
    CHECK(waiter.running());
    holder.release();
    CHECK(waiter.wait() == 0);
}

// Opens of a file that is passed through share what the first of them registered.
TEST_CASE("a lock goes with its file while others have the file open", "[locks][passthrough]") {
    const Union united({Ext4}, any_scope());
    const std::string path = united.path("file");
    put(path, "0123456789");
    Holder holder(path, [](int held) { return outcome(::flock(held, LOCK_EX)); });
    const UniqueFd file = open_file(path, O_RDWR);
    REQUIRE(outcome(::flock(file.get(), LOCK_EX | LOCK_NB)) == EWOULDBLOCK);
    holder.release();
    CHECK(outcome(::flock(file.get(), LOCK_EX)) == kOk);
}

TEST_CASE("who waits for a lock does not keep the mount from ending", "[locks]") {
    Union united({Ext4}, "locks=branch");
    const std::string path = united.path("file");
    put(path, "0123456789");
    const UniqueFd file = open_file(path, O_RDWR);
    REQUIRE(outcome(::flock(file.get(), LOCK_EX)) == kOk);
    std::array<int, 2> pipe{};
    REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
    const UniqueFd ready(pipe[0]);
    const UniqueFd writer(pipe[1]);
    Process waiter([&] {
        const UniqueFd other = open_file(path, O_RDWR);
        if (::flock(other.get(), LOCK_EX | LOCK_NB) == 0) return 1;
        if (::write(writer.get(), "x", 1) != 1) return 2;
        return outcome(::flock(other.get(), LOCK_EX)).code();
    });
    char byte = 0;
    REQUIRE(::read(ready.get(), &byte, 1) == 1);
    ::kill(united.mount.daemon(), SIGTERM);
    united.mount.expect_end();
    CHECK(waiter.wait() != 0);
}

TEST_CASE("who waits for a lock can be killed", "[locks][killed]") {
    const Union united({Ext4}, any_scope());
    const std::string path = united.path("file");
    put(path, "0123456789");
    Holder holder(path, [](int held) { return lock_range(held, F_WRLCK, 0, 0); });
    Process waiter([&] {
        const UniqueFd file = open_file(path, O_RDWR);
        return lock_range(file.get(), F_WRLCK, 0, 0, F_SETLKW).code();
    });
    waiter.signal(SIGKILL);
    CHECK(waiter.wait() == 128 + SIGKILL);
    holder.release();
    const UniqueFd file = open_file(path, O_RDWR);
    CHECK(lock_range(file.get(), F_WRLCK, 0, 0) == kOk);
}

TEST_CASE("a killed holder's locks are free", "[locks][killed]") {
    const Union united({Ext4}, any_scope());
    const std::string path = united.path("file");
    put(path, "0123456789");
    {
        const Holder holder(path, [](int held) {
            return then(lock_range(held, F_WRLCK, 0, 0),
                        [&] { return outcome(::flock(held, LOCK_EX)); });
        });
    }
    const UniqueFd file = open_file(path, O_RDWR);
    CHECK(lock_range(file.get(), F_WRLCK, 0, 0, F_SETLKW) == kOk);
    CHECK(outcome(::flock(file.get(), LOCK_EX)) == kOk);
}

TEST_CASE("open file description locks", "[locks]") {
    const Union united({Ext4}, any_scope());
    const std::string path = united.path("file");
    put(path, "0123456789");
    const UniqueFd one = open_file(path, O_RDWR);
    const UniqueFd two = open_file(path, O_RDWR);
    REQUIRE(lock_range(one.get(), F_WRLCK, 0, 5, F_OFD_SETLK) == kOk);
    CHECK(lock_range(two.get(), F_WRLCK, 0, 5, F_OFD_SETLK) == EAGAIN);
    CHECK(lock_range(two.get(), F_WRLCK, 5, 5, F_OFD_SETLK) == kOk);
}

TEST_CASE("locks on the branch are seen by its other users", "[locks]") {
    const Union united({Ext4}, "locks=branch");
    put(united.path("file"), "0123456789");
    const UniqueFd file = open_file(united.path("file"), O_RDWR);
    const UniqueFd outside = open_file(united.branches.path(0, "file"), O_RDWR);
    SECTION("POSIX") {
        REQUIRE(lock_range(file.get(), F_WRLCK, 0, 5) == kOk);
        CHECK(lock_range(outside.get(), F_WRLCK, 0, 5, F_OFD_SETLK) == EAGAIN);
        CHECK(lock_range(outside.get(), F_WRLCK, 5, 5, F_OFD_SETLK) == kOk);
        CHECK(lock_range(file.get(), F_WRLCK, 5, 5) == EAGAIN);
        REQUIRE(lock_range(file.get(), F_UNLCK, 0, 0) == kOk);
        CHECK(lock_range(outside.get(), F_WRLCK, 0, 5, F_OFD_SETLK) == kOk);
    }
    SECTION("flock") {
        REQUIRE(::flock(file.get(), LOCK_EX) == 0);
        CHECK(outcome(::flock(outside.get(), LOCK_SH | LOCK_NB)) == EWOULDBLOCK);
        REQUIRE(::flock(file.get(), LOCK_UN) == 0);
        CHECK(outcome(::flock(outside.get(), LOCK_SH | LOCK_NB)) == kOk);
    }
}

TEST_CASE("locks of one mount are its own by default", "[locks]") {
    const Union united{Ext4};
    put(united.path("file"), "");
    const UniqueFd file = open_file(united.path("file"), O_RDWR);
    REQUIRE(::flock(file.get(), LOCK_EX) == 0);
    const UniqueFd outside = open_file(united.branches.path(0, "file"), O_RDWR);
    CHECK(outcome(::flock(outside.get(), LOCK_EX | LOCK_NB)) == kOk);
}

}  // namespace
}  // namespace plyfs::test
