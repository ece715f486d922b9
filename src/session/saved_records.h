// SPDX-License-Identifier: GPL-2.0-or-later
//
// All that a daemon hands to its successor, as records in a file: what kind, how long, and then the
// members in their order. Numbers are as they are in memory: both processes are on one machine. (A
// library's CBOR took several times as long, in which nobody is served.)
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "passthrough/open_files.h"
#include "sys/result.h"
#include "sys/unique_fd.h"
#include "union/saved_state.h"

namespace plyfs::session {

// Changes whenever a record is not understood any more by those who know the one before.
inline constexpr std::uint32_t kHandoverFormat = 1;

// Of the mount as such.
struct SavedSession {
    std::uint64_t generation = 0;  // of node ids
    std::uint32_t connection = 0;  // in /sys/fs/fuse/connections
    std::uint64_t restarts = 0;    // with this one
    // InitAnswer.
    std::uint64_t agreed = 0;
    std::vector<std::uint8_t> init_request;
    std::vector<std::uint8_t> init_reply;
};

// A description of BranchLocks.
struct SavedLock {
    std::uint64_t node = 0;
    std::uint64_t owner = 0;
    DescriptorPosition descriptor = kNoDescriptor;
};

// A name of which the kernel is to be told that it leads elsewhere.
struct SavedExpiry {
    NodeId parent = 0;
    std::string name;
};

using Record =
    std::variant<SavedSession, SavedLock, SavedExpiry, passthrough::SavedOpened, SavedState>;

// Writes records to a file of its own in memory.
class RecordWriter {
public:
    // Errnos of memfd_create(2).
    static Result<RecordWriter> create();
    // Errors are told by finish().
    void add(const Record& record);
    // The file. Errnos of write(2).
    Result<UniqueFd> finish();

private:
    explicit RecordWriter(UniqueFd file) : file_(std::move(file)) {}
    void flush();

    UniqueFd file_;
    std::vector<std::uint8_t> buffer_;
    Result<void> written_{};
};

// Calls visit(record) for each record of the file, until one fails. EPROTO: it is no such file.
Result<void> read_records(int file, const std::function<Result<void>(Record&&)>& visit);

}  // namespace plyfs::session
