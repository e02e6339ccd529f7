//! SQL functions of the flights example. They see no clock, files or network: same arguments, same answer.

wit_bindgen::generate!({ world: "flights", path: "wit" });

struct Flights;

export!(Flights);

/// Mean radius of the Earth.
const EARTH_RADIUS_KM: f64 = 6371.0088;

impl Guest for Flights {
    /// The haversine formula; the clamp keeps rounding at antipodes out of `asin`'s undefined range.
    fn great_circle_km(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
        let half_chord = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let a = half_chord(lat2 - lat1)
            + lat1.to_radians().cos() * lat2.to_radians().cos() * half_chord(lon2 - lon1);
        2.0 * EARTH_RADIUS_KM * a.clamp(0.0, 1.0).sqrt().asin()
    }

    fn delay_class(minutes: Option<f64>) -> String {
        match minutes {
            None => "cancelled",
            Some(m) if m < 15.0 => "on time",
            Some(m) if m < 60.0 => "late",
            Some(_) => "very late",
        }
        .to_string()
    }

    /// N, then one to five characters: digits first (the first not 0), then at most two letters without I and O.
    fn parse_tail_number(text: String) -> Result<Option<String>, String> {
        let text = text.trim().to_ascii_uppercase();
        if text.is_empty() {
            return Ok(None);
        }
        let invalid = |why: &str| Err(format!("tail number \"{text}\" {why}"));
        let Some(mark) = text.strip_prefix('N') else { return invalid("does not start with N") };
        if mark.is_empty() || mark.len() > 5 {
            return invalid("must have one to five characters after N");
        }
        let digits = mark.bytes().take_while(u8::is_ascii_digit).count();
        let letters = &mark.as_bytes()[digits..];
        if digits == 0 || mark.starts_with('0') {
            return invalid("needs a digit other than 0 after N");
        }
        if letters.len() > 2 || !letters.iter().all(|b| b.is_ascii_uppercase() && !b"IO".contains(b)) {
            return invalid("may end in at most two letters, not I or O");
        }
        Ok(Some(text))
    }
}
