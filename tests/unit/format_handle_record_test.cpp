// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/handle_record.h"

#include <catch2/catch_test_macros.hpp>

namespace plyfs::format {
namespace {

HandleRecord sample() {
    HandleRecord record;
    record.type = 1;
    for (std::uint8_t at = 0; at < 16; ++at) record.uuid[at] = static_cast<std::uint8_t>(at + 1);
    record.handle = "\x11\x22\x33\x44\x55\x66\x77\x88";
    return record;
}

RecordFault fault_of(const std::string& bytes) {
    const auto record = decode_handle_record(bytes);
    REQUIRE_FALSE(record);
    return record.error();
}

std::string with_byte(std::size_t at, int value) {
    std::string bytes = encode(sample());
    bytes[at] = static_cast<char>(value);
    return bytes;
}

}  // namespace

TEST_CASE("a handle record has overlayfs's layout", "[format]") {
    const std::string bytes = encode(sample());
    REQUIRE(bytes.size() == 29);
    CHECK(bytes.substr(0, 5) == std::string("\x00\xfb\x1d\x00\x01", 5));
    CHECK(bytes[5] == 1);
    CHECK(bytes[20] == 16);
    CHECK(bytes.substr(21) == sample().handle);
    CHECK(*decode_handle_record(bytes) == sample());
}

TEST_CASE("the flags of a handle record are kept", "[format]") {
    HandleRecord record = sample();
    record.upper = true;
    record.any_endian = true;
    CHECK(encode(record)[3] == 6);
    CHECK(*decode_handle_record(encode(record)) == record);
}

TEST_CASE("a record that nobody here understands is unknown", "[format]") {
    CHECK(fault_of("") == RecordFault::Unknown);
    CHECK(fault_of(with_byte(0, 1)) == RecordFault::Unknown);
    CHECK(fault_of(with_byte(3, 8)) == RecordFault::Unknown);
    CHECK(fault_of(with_byte(3, 1)) == RecordFault::Unknown);  // the other endianness
    CHECK(decode_handle_record(with_byte(3, 3)));              // any
}

TEST_CASE("what is no record is damaged", "[format]") {
    CHECK(fault_of("y") == RecordFault::Damaged);
    CHECK(fault_of(encode(sample()).substr(0, 20)) == RecordFault::Damaged);
    CHECK(fault_of(encode(sample()).substr(0, 28)) == RecordFault::Damaged);
    CHECK(fault_of(with_byte(1, 0xfa)) == RecordFault::Damaged);
    CHECK(fault_of(with_byte(2, 255)) == RecordFault::Damaged);
    CHECK(fault_of(with_byte(2, 21)) == RecordFault::Damaged);
    CHECK(fault_of(with_byte(2, 0)) == RecordFault::Damaged);
    CHECK(fault_of(std::string(255, '\xff')) == RecordFault::Damaged);
}

TEST_CASE("bytes after a handle record are ignored", "[format]") {
    CHECK(*decode_handle_record(encode(sample()) + "more") == sample());
}

}  // namespace plyfs::format
