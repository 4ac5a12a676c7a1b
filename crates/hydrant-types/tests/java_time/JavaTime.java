// Prints what java.time makes of patterns, for the tests of `hydrant-types/src/prefix/`. Run with OpenJDK 17 (17.0.15, tzdata 2025a):
//   java JavaTime.java letters > letters.tsv
//   java JavaTime.java moments > moments.tsv
//   java JavaTime.java zones > ../../src/prefix/zone_names.tsv
import java.time.Instant;
import java.time.LocalDate;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TimeZone;
import java.util.TreeMap;
import java.util.TreeSet;

public class JavaTime {
    static final String[][] MOMENTS = {
        {"2026-07-13T15:01:01.061Z", "UTC"},
        {"2024-12-30T23:30:09.500Z", "America/Los_Angeles"}, // week-year 2025
        {"2021-01-01T18:30:00Z", "Asia/Kolkata"}, // midnight
        {"2023-10-01T16:00:00.000000007Z", "America/New_York"}, // noon
        {"1970-01-01T00:00:00Z", "Africa/Monrovia"}, // -00:44:30
        {"9999-12-30T21:59:59.999999999Z", "Europe/London"}, // week-year 10000
        {"0001-01-01T00:00:00Z", "America/New_York"}, // 1 BC
        {"2016-02-29T06:05:04.003002001Z", "Pacific/Chatham"}, // +13:45
        {"2025-11-02T05:30:00Z", "America/New_York"}, // 01:30 for the first time
        {"2025-11-02T06:30:00Z", "America/New_York"}, // and again
        {"2026-03-29T01:00:00Z", "Europe/Berlin"}, // after the gap
    };

    static DateTimeFormatter of(String pattern) {
        return DateTimeFormatter.ofPattern(pattern, Locale.US);
    }

    static void letters() {
        StringBuilder head = new StringBuilder();
        for (String[] moment : MOMENTS) head.append('\t').append(moment[0]).append(' ').append(moment[1]);
        System.out.println(head);
        List<String> patterns = new ArrayList<>();
        for (char letter = 'A'; letter <= 'z'; letter++) {
            if (!Character.isLetter(letter)) continue;
            for (int width = 1; width <= 20; width++) patterns.add(String.valueOf(letter).repeat(width));
        }
        patterns.addAll(List.of("''", "'a''b'", "'ABC'yyyy'-'MM", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "''''", "é/~ 1", "'", "yyyy'",
            "yyyy#", "yyyy{", "yyyyMM", "h''a", "'''a'", "'a'''", "'a''''b'yy", "'''", "''''''", "''''yy''''", "'a"));
        for (String pattern : patterns) {
            String line = pattern;
            try {
                DateTimeFormatter format = of(pattern);
                for (String[] moment : MOMENTS)
                    line += '\t' + format.format(Instant.parse(moment[0]).atZone(ZoneId.of(moment[1])));
            } catch (IllegalArgumentException refused) {
                line = pattern + "\trefused";
            } catch (ArrayIndexOutOfBoundsException bug) {
                // Years of 11 to 18 letters: taken, and not to be printed.
                line = pattern + "\tfails";
            }
            System.out.println(line);
        }
    }

    static void moment(ZonedDateTime at, String pattern) {
        System.out.println(at.toInstant() + "\t" + at.getZone() + "\t" + pattern + "\t" + of(pattern).format(at));
    }

    static void moments() {
        // Weeks: around each end of a year, for every weekday that 1 January can be.
        for (int year = 2019; year <= 2032; year++)
            for (int day = -7; day <= 8; day++)
                moment(LocalDate.of(year, 1, 1).plusDays(day).atStartOfDay(ZoneId.of("UTC")), "yyyy Y YY YYYY w ww W e c D g F");
        // Every month, quarter and weekday in words.
        for (int day = 0; day < 366; day += 13)
            moment(LocalDate.of(2024, 1, 1).plusDays(day).atStartOfDay(ZoneId.of("UTC")),
                "M MMM MMMM MMMMM LLL LLLL E EEEE EEEEE e eee ccc Q QQQ QQQQ q");
        // Every hour of a day, and the minutes around those that have a name.
        for (int minute : new int[] {0, 1, 60, 299, 359, 360, 719, 720, 721, 780, 1079, 1080, 1199, 1259, 1260, 1320, 1439})
            moment(LocalDate.of(2024, 5, 1).atStartOfDay(ZoneOffset.UTC).plusMinutes(minute).withZoneSameInstant(ZoneId.of("UTC")),
                "H HH k kk K KK h hh a B BBBB BBBBB A n N");
        // Names and offsets.
        for (String zone : new String[] {"UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "Africa/Casablanca",
                "America/New_York", "America/Los_Angeles", "America/St_Johns", "America/Sao_Paulo", "Asia/Kolkata", "Asia/Calcutta",
                "Asia/Kathmandu", "Asia/Tokyo", "Asia/Dubai", "Australia/Lord_Howe", "Australia/Eucla", "Pacific/Apia",
                "Pacific/Kiritimati", "Etc/GMT+5", "Etc/GMT", "Africa/Johannesburg", "Europe/Kyiv", "America/Port-au-Prince", "EST5EDT"})
            for (String instant : new String[] {"1985-06-01T00:00:00Z", "2017-01-15T12:00:00Z", "2025-07-15T12:00:00Z"})
                moment(Instant.parse(instant).atZone(ZoneId.of(zone)), "z zzzz v vvvv VV O OOOO X XX XXX XXXX XXXXX x xx Z ZZZZ ZZZZZ");
        // Gaps and overlaps: the last moment before and the first after.
        for (String[] change : new String[][] {
                {"2026-03-29T00:59:59.999Z", "Europe/Berlin"}, {"2026-03-29T01:00:00Z", "Europe/Berlin"},
                {"2026-10-25T00:59:59.999Z", "Europe/Berlin"}, {"2026-10-25T01:00:00Z", "Europe/Berlin"},
                {"2026-03-08T09:59:59Z", "America/Los_Angeles"}, {"2026-03-08T10:00:00Z", "America/Los_Angeles"},
                {"2026-10-03T15:29:59Z", "Australia/Lord_Howe"}, {"2026-10-03T15:30:00Z", "Australia/Lord_Howe"},
                {"2011-12-30T09:59:59Z", "Pacific/Apia"}, {"2011-12-30T10:00:00Z", "Pacific/Apia"}})
            moment(Instant.parse(change[0]).atZone(ZoneId.of(change[1])), "yyyy-MM-dd'T'HH:mm:ss.SSSXXX");
    }

    // Names of zones, standard and daylight and generic, each short and long; then the zones that have them.
    static void zones() {
        Map<String, List<String>> zones = new TreeMap<>();
        Instant any = Instant.parse("2026-01-15T00:00:00Z");
        for (String id : new TreeSet<>(ZoneId.getAvailableZoneIds())) {
            if (id.startsWith("SystemV/") || (id.length() == 3 && !id.equals("UTC"))) continue;
            StringBuilder names = new StringBuilder();
            for (boolean daylight : new boolean[] {false, true})
                for (int style : new int[] {TimeZone.SHORT, TimeZone.LONG})
                    names.append(TimeZone.getTimeZone(id).getDisplayName(daylight, style, Locale.US)).append('\t');
            names.append(of("v").format(any.atZone(ZoneId.of(id)))).append('\t');
            names.append(of("vvvv").format(any.atZone(ZoneId.of(id))));
            // Those without names have their offset, which is no table's business.
            if (id.startsWith("Etc/GMT") && names.toString().startsWith("GMT+") || names.toString().startsWith("GMT-0\t")
                || id.startsWith("Etc/GMT") && names.toString().startsWith("GMT-")) continue;
            zones.computeIfAbsent(names.toString(), key -> new ArrayList<>()).add(id);
        }
        zones.forEach((names, ids) -> System.out.println(names + "\t" + String.join(" ", ids)));
    }

    public static void main(String[] arguments) {
        switch (arguments[0]) {
            case "letters" -> letters();
            case "moments" -> moments();
            default -> zones();
        }
    }
}
