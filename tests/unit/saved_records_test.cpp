// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "session/saved_records.h"

namespace plyfs::session::test {
namespace {

const std::string kBytes("\xff\0\n\x80", 4);

RealId real(std::uint64_t inode) {
    return {.device = UINT64_MAX, .inode = inode, .birth = {-1, 999'999'999}};
}

std::vector<Record> all_kinds() {
    SavedNode node;
    node.id = UINT64_MAX;
    node.type = S_IFDIR;
    node.lookups = 7;
    node.names = {{1, kBytes}, {2, ""}};
    node.stack = {0, 65535};
    node.lower_places = {{1, "a/" + kBytes}};
    node.index_entry = kBytes;
    node.real = real(5);
    node.held = 3;
    node.successor = 9;
    node.twin = node.found = true;
    node.snapshot = 4;
    SavedDirectory directory{8, 2, true, {{kBytes, UINT64_MAX, 3, 8, true}}};
    return {SavedSession{1, 2, 3, UINT64_MAX, {0, 255}, {}},
            SavedLock{1, UINT64_MAX, 0},
            SavedExpiry{1, kBytes},
            passthrough::SavedOpened{.node = 5,
                                     .mode = passthrough::IoMode::Passthrough,
                                     .backing_id = 17,
                                     .real = real(6),
                                     .follows = true,
                                     .opens = 2,
                                     .mappers = 1},
            SavedState(SavedTotals{1, 2, 3}),
            SavedState(SavedTag{1, 0x7fff}),
            SavedState(std::move(node)),
            SavedState(SavedSnapshot{1, real(7), 1, 2}),
            SavedState(SavedFile{3, 4, real(8), 1, 0x8002, 5, 1, 6, real(9), true}),
            SavedState(std::move(directory)),
            SavedState(SavedVisit{1, UINT64_MAX})};
}

UniqueFd file_of(const std::vector<Record>& records) {
    auto writer = RecordWriter::create();
    REQUIRE(writer);
    for (const Record& record : records) writer->add(record);
    auto file = writer->finish();
    REQUIRE(file);
    return *std::move(file);
}

std::string bytes_of(int file) {
    std::string bytes(static_cast<std::size_t>(::lseek(file, 0, SEEK_END)), '\0');
    REQUIRE(::pread(file, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    return bytes;
}

// Of a file with these bytes.
Result<std::size_t> count_records(const std::string& bytes) {
    const UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
    REQUIRE(::write(file.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    std::size_t count = 0;
    TRY(read_records(file.get(), [&](Record&&) -> Result<void> {
        ++count;
        return {};
    }));
    return count;
}

}  // namespace

TEST_CASE("records are read as they were written", "[handover]") {
    const UniqueFd file = file_of(all_kinds());
    std::vector<Record> read;
    REQUIRE(read_records(file.get(), [&](Record&& record) -> Result<void> {
        read.push_back(std::move(record));
        return {};
    }));
    REQUIRE(read.size() == all_kinds().size());
    // What is written again is the same to the last byte.
    CHECK((bytes_of(file_of(read).get()) == bytes_of(file.get())));
    const auto& node = std::get<SavedNode>(std::get<SavedState>(read[6]));
    CHECK(node.id == UINT64_MAX);
    CHECK(node.names.at(0).name == kBytes);
    CHECK(node.lower_places.at(0).path == "a/" + kBytes);
    CHECK(node.real == real(5));
    const auto& directory = std::get<SavedDirectory>(std::get<SavedState>(read[9]));
    CHECK(directory.names.at(0).name == kBytes);
    CHECK(std::get<passthrough::SavedOpened>(read[3]).mode == passthrough::IoMode::Passthrough);
}

TEST_CASE("records that are cut or changed are refused or read, and nothing else", "[handover]") {
    const std::string bytes = bytes_of(file_of(all_kinds()).get());
    REQUIRE(count_records(bytes).value() == all_kinds().size());
    std::size_t refused = 0;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto count = count_records(bytes.substr(0, size));
        if (count) {
            CHECK(*count < all_kinds().size());
        } else {
            CHECK(count.error() == EPROTO);
            ++refused;
        }
    }
    CHECK(refused > bytes.size() - 2 * all_kinds().size());
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        for (const int change : {0x01, 0x20, 0x80, 0xff}) {
            std::string changed = bytes;
            changed[at] = static_cast<char>(changed[at] ^ change);
            const auto count = count_records(changed);
            if (!count) CHECK(count.error() == EPROTO);
        }
    }
}

TEST_CASE("reading ends at the first record that is not wanted", "[handover]") {
    const UniqueFd file = file_of(all_kinds());
    int visited = 0;
    const auto read = read_records(file.get(), [&](Record&&) -> Result<void> {
        return ++visited < 3 ? Result<void>() : fail(EMFILE);
    });
    CHECK(read.error() == EMFILE);
    CHECK(visited == 3);
}

}  // namespace plyfs::session::test
