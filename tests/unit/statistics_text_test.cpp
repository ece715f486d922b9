// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/statistics_text.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

using namespace plyfs::cli;

namespace {

constexpr char kReport[] =
    R"({"version":"0.1.0","uptime_seconds":3725.5,"threads":4,)"
    R"("branches":{"writable":2,"read_only":1},)"
    R"("kernel":{"protocol":"7.45","features":{"passthrough":true,"posix-acl":false}},)"
    R"("open":{"files":12,"directories":1},"opens":{"passthrough":230,"cached":20,"direct":0,"kept_pages":7},)"
    R"("backings":{"registered":12,"idle":2,"attached":4,"registrations":210,"refused":{"no_privilege":0,)"
    R"("stacked":3,"no_iterators":0,"no_descriptors":1,"other":0}},)"
    R"("copy_ups":{"made":5,"metadata_only":1,"filled":2,"cloned":3,"bytes_cloned":1048576,)"
    R"("bytes_copied":1536,"failed":4,"running":6},)"
    R"("nodes":{"remembered":103,"made":110,"found":2},)"
    R"("directories":{"kept_open":2,"hits":9,"misses":1},)"
    R"("requests":{"LOOKUP":{"count":1,"errors":1,"total_ns":1000,"max_ns":1000,)"
    R"("buckets":[[10,1]]},"OPEN":{"count":2,"errors":0,"total_ns":3000000,"max_ns":2000000,)"
    R"("buckets":[[20,1],[21,1]]}}})";

// `report` with one piece of it replaced.
std::string changed(std::string_view piece, std::string_view other) {
    std::string report(kReport);
    const std::size_t at = report.find(piece);
    REQUIRE(at != std::string::npos);
    return report.replace(at, piece.size(), other);
}

}  // namespace

TEST_CASE("statistics are printed", "[stats]") {
    CHECK(statistics_text(kReport) ==
          "plyfs        0.1.0, up 1 h 2 min, 4 threads, 3 branches (2 writable)\n"
          "kernel       FUSE 7.45: passthrough, no posix-acl\n"
          "open now     12 files, 1 directory\n"
          "opens        230 passthrough (92.0 %), 20 cached, 7 of these with pages kept; 0 direct\n"
          "backings     12 registered now, 2 of them idle, 4 attached; 210 since the start\n"
          "not passed   3 stacked too deep, 1 too many open files\n"
          "copy-ups     5 made, 1 of them metadata only, 2 filled later; 3 cloned (1.00 MiB), "
          "1.50 KiB copied; 4 failed, 6 running\n"
          "nodes        103 remembered; 2 names led to known ones, 110 made\n"
          "directories  2 kept open, 9 hits (90.0 %), 1 misses\n"
          "\n"
          "request                count    errors      mean       p50       p99       max\n"
          "OPEN                       2         0   1.50 ms   1.05 ms   1.98 ms   2.00 ms\n"
          "LOOKUP                     1         1   1.00 us    756 ns    995 ns   1.00 us\n");
}

TEST_CASE("statistics of a mount that did nothing are printed", "[stats]") {
    const std::string opens =
        changed(R"("passthrough":230,"cached":20)", R"("passthrough":0,"cached":0)");
    CHECK_THAT(statistics_text(opens).value(),
               Catch::Matchers::ContainsSubstring("opens        0 passthrough, 0 cached, 7 of"));
    const std::string report(kReport);
    const std::string none = report.substr(0, report.find(R"("requests")")) + R"("requests":{}})";
    CHECK_THAT(statistics_text(none).value(), Catch::Matchers::EndsWith("max\n"));
}

TEST_CASE("a daemon that was restarted says so", "[stats]") {
    const auto text = [](const char* restarts) {
        return statistics_text(
                   changed(R"("threads":4)", std::string(R"("threads":4,"daemon":)") + restarts))
            .value_or("");
    };
    CHECK(text(R"({"restarts":0})").starts_with("plyfs        0.1.0, up 1 h 2 min, 4 threads"));
    CHECK(text(R"({"restarts":2})")
              .starts_with("plyfs        0.1.0, up 1 h 2 min, restarted 2 "
                           "times, 4 threads"));
}

TEST_CASE("members and buckets of later versions do no harm", "[stats]") {
    const auto usual = statistics_text(kReport);
    CHECK(statistics_text(changed(R"("threads":4)", R"("threads":4,"later":[1,{"a":2}])")) ==
          usual);
    CHECK(statistics_text(changed("[10,1]", "[99,1]")).has_value());
}

TEST_CASE("what is no report is not printed", "[stats]") {
    for (const std::string& report :
         {std::string(), std::string("x"), std::string("{}"), std::string("[]"),
          std::string("null"), std::string(kReport).substr(0, 400),
          changed(R"("threads":4)", R"("threads":"four")"), changed("[[10,1]]", "[10]"),
          changed("[[10,1]]", "7"), changed(R"("hits":9,)", "")}) {
        CAPTURE(report);
        CHECK_FALSE(statistics_text(report));
    }
}

TEST_CASE("durations and sizes have three digits and a unit", "[stats]") {
    CHECK(duration_text(0) == "0 ns");
    CHECK(duration_text(850) == "850 ns");
    CHECK(duration_text(1234) == "1.23 us");
    CHECK(duration_text(12'340) == "12.3 us");
    CHECK(duration_text(123'400) == "123 us");
    CHECK(duration_text(4.56e6) == "4.56 ms");
    CHECK(duration_text(7.2e12) == "7200 s");
    CHECK(size_text(0) == "0 B");
    CHECK(size_text(1023) == "1023 B");
    CHECK(size_text(1536) == "1.50 KiB");
    CHECK(size_text(std::uint64_t{3} << 40) == "3.00 TiB");
}
