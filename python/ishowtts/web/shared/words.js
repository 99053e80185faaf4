// The languages of the pages: one dictionary module each, the same keys in all of them (a test compares them).

export const LANGUAGES = { en: "English", zh: "中文", vi: "Tiếng Việt" };
const KEY = "ishowtts.language";

/** `asked`, else what was chosen before, else the browser's first language that there is. */
export function chosenLanguage(asked = null) {
  let stored = null;
  try {
    stored = localStorage.getItem(KEY);
  } catch {
    // Forbidden: the browser's own language, then.
  }
  const wanted = [asked, stored, ...navigator.languages].filter(Boolean).map((tag) => tag.slice(0, 2).toLowerCase());
  return wanted.find((language) => language in LANGUAGES) ?? "en";
}

export function chooseLanguage(language) {
  try {
    localStorage.setItem(KEY, language);
  } catch {
    // It lasts as long as the page.
  }
}

export async function dictionary(language) {
  return (await import(`../languages/${language}.js`)).default;
}
