// SPDX-License-Identifier: GPL-2.0-or-later
//
// What has become of one request, told to whoever wants to survive the daemon. A request that
// changes something may be repeated after a restart (FUSE_NOTIFY_RESEND repeats every request that
// was not answered, executed or not), so its phase is written down before it is executed and its
// result before it is answered.
//
// One Journal belongs to one request and is used by the thread that serves it. Nothing is kept
// yet: NullJournal is the only one.
#pragma once

#include <cstdint>
#include <string_view>

#include "sys/result.h"

namespace plyfs {

class Journal {
public:
    enum class Phase : std::uint8_t {
        Intended,  // an intent record is on disk: detail is its sequence number
        Executed,  // everything is done, the answer is on its way
        Undone,    // it failed and what had been done is taken back
    };

    virtual ~Journal() = default;

    // Before the first change. `verb` is a literal: "rename", "unlink". Where it fails nothing has
    // been changed and the verb returns that error.
    virtual Result<void> begin(std::string_view verb) = 0;

    // A phase is reached. `detail` is zero where the phase has none.
    virtual void phase(Phase phase, std::uint64_t detail) = 0;

    // Before answering: zero or the errno of the answer.
    virtual void result(int error) = 0;

    // The request's number as the kernel gave it; zero for what plyfs does on its own.
    std::uint64_t unique() const noexcept { return unique_; }

protected:
    explicit Journal(std::uint64_t unique) noexcept : unique_(unique) {}
    Journal(const Journal&) = default;
    Journal& operator=(const Journal&) = default;

private:
    std::uint64_t unique_;
};

// Keeps nothing.
class NullJournal final : public Journal {
public:
    explicit NullJournal(std::uint64_t unique = 0) noexcept : Journal(unique) {}
    Result<void> begin(std::string_view) override { return {}; }
    void phase(Phase, std::uint64_t) override {}
    void result(int) override {}
};

}  // namespace plyfs
